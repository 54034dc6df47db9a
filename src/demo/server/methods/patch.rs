//! `PatchObject` (RFC 8620 §5.3): pointers without their leading slash, and the values to put there.

use serde_json::{Map, Value};

use super::error::{SetError, SetErrorKind};

/// Changes an object as a patch says; `null` removes a member.
///
/// # Errors
/// `invalidPatch` when a pointer leads through what is not there or not an object, or when one
/// pointer is the beginning of another.
pub(crate) fn apply(object: &mut Value, patch: Map<String, Value>) -> Result<(), SetError> {
    let invalid = || SetError::from(SetErrorKind::InvalidPatch);
    let mut prefixes: Vec<String> = patch.keys().map(|pointer| format!("{pointer}/")).collect();
    prefixes.sort_unstable();
    if prefixes.iter().zip(prefixes.iter().skip(1)).any(|(one, next)| next.starts_with(one)) {
        return Err(invalid());
    }
    for (pointer, value) in patch {
        let (parents, last) = pointer.rsplit_once('/').unwrap_or(("", &pointer));
        let parents = parents.split('/').filter(|name| !name.is_empty());
        let parent = parents.into_iter().try_fold(&mut *object, |object, name| {
            object.get_mut(unescape(name)).ok_or_else(invalid)
        })?;
        let members = parent.as_object_mut().ok_or_else(invalid)?;
        if value.is_null() && pointer.contains('/') {
            members.remove(&unescape(last));
        } else {
            members.insert(unescape(last), value);
        }
    }
    Ok(())
}

/// RFC 6901 §4.
fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: Value) -> Result<Value, SetError> {
        let mut object = json!({ "name": "a", "keywords": { "$seen": true } });
        let Value::Object(patch) = patch else { panic!("a patch is an object") };
        apply(&mut object, patch).map(|()| object)
    }

    #[test]
    fn members_are_set_and_removed_at_any_depth() {
        assert_eq!(
            patched(json!({ "name": null, "keywords/$seen": null, "keywords/a~1b": true })),
            Ok(json!({ "name": null, "keywords": { "a/b": true } }))
        );
    }

    #[test]
    fn a_pointer_through_nothing_or_through_another_is_an_invalid_patch() {
        for bad in [
            json!({ "absent/x": true }),
            json!({ "name/x": true }),
            json!({ "keywords": {}, "keywords/x": true }),
        ] {
            assert_eq!(patched(bad).unwrap_err().kind, SetErrorKind::InvalidPatch);
        }
    }
}
