//! A small server to hold the split against: `Foo/get`, `Foo/set` with implicit responses, `Core/echo`,
//! and `PushSubscription` where it is native. Reads values, not text, so that it errs in other ways.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub(super) const CORE: &str = "urn:ietf:params:jmap:core";
pub(super) const FOO: &str = "urn:foo";
/// One that we add to the Session.
pub(super) const OURS: &str = "urn:ietf:params:jmap:websocket";

type Ids = BTreeMap<String, String>;
type Response = (String, Value);

/// What it holds.
#[derive(Debug, Default, Clone)]
pub(super) struct Server {
    pub(super) foos: BTreeMap<String, Value>,
    pub(super) subscriptions: BTreeMap<String, Value>,
    /// It has `PushSubscription`, and the capabilities that we would add.
    pub(super) is_native: bool,
    /// How many requests came.
    pub(super) requests: usize,
}

impl Server {
    /// A Response, or a problem's type.
    pub(super) fn answer(&mut self, body: &[u8]) -> Result<Value, &'static str> {
        self.requests += 1;
        let request: Value = serde_json::from_slice(body).map_err(|_| "notJSON")?;
        let using: Vec<&str> =
            request["using"].as_array().unwrap().iter().map(|urn| urn.as_str().unwrap()).collect();
        let is_known = |urn: &&str| [CORE, FOO].contains(urn) || (self.is_native && *urn == OURS);
        if !using.iter().all(is_known) {
            return Err("unknownCapability");
        }
        let mut created: Ids = match request.get("createdIds") {
            Some(created) => serde_json::from_value(created.clone()).unwrap(),
            None => Ids::new(),
        };
        let mut responses: Vec<(String, Value, String)> = Vec::new();
        for call in request["methodCalls"].as_array().unwrap() {
            let (name, call_id) = (call[0].as_str().unwrap(), call[2].as_str().unwrap());
            let answers = match resolve(call[1].as_object().unwrap(), &responses) {
                Ok(arguments) => self.call(name, &arguments, &using, &mut created),
                Err(kind) => vec![error(kind)],
            };
            let answers = answers.into_iter();
            responses.extend(answers.map(|(name, value)| (name, value, call_id.to_owned())));
        }
        let mut response = json!({ "methodResponses": responses, "sessionState": "s" });
        if request.get("createdIds").is_some() {
            response["createdIds"] = json!(created);
        }
        Ok(response)
    }

    fn call(
        &mut self,
        name: &str,
        arguments: &Map<String, Value>,
        using: &[&str],
        created: &mut Ids,
    ) -> Vec<Response> {
        let urn = if name.starts_with("Foo/") { FOO } else { CORE };
        if !using.contains(&urn) {
            return vec![error("unknownMethod")];
        }
        match name {
            "Core/echo" => vec![(name.to_owned(), Value::Object(arguments.clone()))],
            "Foo/get" => vec![get(&self.foos, name, arguments, created)],
            "Foo/set" => {
                let set = set(&mut self.foos, ("f", name), arguments, created);
                // Several responses with one call id (A4).
                let implicit = ("Foo/get".to_owned(), json!({ "list": [{ "id": "implicit" }] }));
                if set.0 == "error" { vec![set] } else { vec![set, implicit] }
            }
            _ if self.is_native => vec![self.push(name, arguments, created)],
            _ => vec![error("unknownMethod")],
        }
    }

    /// Answers a call of `PushSubscription`.
    pub(super) fn push(
        &mut self,
        name: &str,
        arguments: &Map<String, Value>,
        created: &mut Ids,
    ) -> Response {
        match name {
            "PushSubscription/get" => get(&self.subscriptions, name, arguments, created),
            "PushSubscription/set" => set(&mut self.subscriptions, ("p", name), arguments, created),
            _ => error("unknownMethod"),
        }
    }
}

fn error(kind: &str) -> Response {
    ("error".to_owned(), json!({ "type": kind }))
}

fn id_of(name: &str, created: &Ids) -> String {
    let id = name.strip_prefix('#').and_then(|name| created.get(name));
    id.cloned().unwrap_or_else(|| name.to_owned())
}

fn ids(value: &Value, created: &Ids) -> Option<Vec<String>> {
    let list = value.as_array()?.iter();
    list.map(|id| id.as_str().map(|id| id_of(id, created))).collect()
}

fn is_ids(value: &Value) -> bool {
    value.is_null() || ids(value, &Ids::new()).is_some()
}

fn get(
    held: &BTreeMap<String, Value>,
    name: &str,
    arguments: &Map<String, Value>,
    created: &Ids,
) -> Response {
    let ids = match arguments.get("ids") {
        None | Some(Value::Null) => held.keys().cloned().collect(),
        Some(value) => match ids(value, created) {
            Some(ids) => ids,
            None => return error("invalidArguments"),
        },
    };
    let (found, missing): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| held.contains_key(id));
    let list: Vec<Value> = found.iter().map(|id| json!({ "id": id, "is": held[id] })).collect();
    (name.to_owned(), json!({ "list": list, "notFound": missing }))
}

fn set(
    held: &mut BTreeMap<String, Value>,
    (prefix, name): (&str, &str),
    arguments: &Map<String, Value>,
    created: &mut Ids,
) -> Response {
    let empty = json!({});
    let create = arguments.get("create").unwrap_or(&empty);
    let destroy = arguments.get("destroy").unwrap_or(&Value::Null);
    let (Some(create), true) = (create.as_object(), is_ids(destroy)) else {
        return error("invalidArguments");
    };
    let mut made = Map::new();
    for (creation_id, value) in create {
        let id = format!("{prefix}{}", held.len());
        // A foreign key of the same type (§5.3), which subscriptions have not.
        let like = value["like"].as_str().filter(|_| prefix == "f");
        let is = like.map_or(value.clone(), |id| id_of(id, created).into());
        held.insert(id.clone(), is);
        created.insert(creation_id.clone(), id.clone());
        made.insert(creation_id.clone(), json!({ "id": id }));
    }
    let mut updated = Map::new();
    for (id, patch) in arguments.get("update").and_then(Value::as_object).into_iter().flatten() {
        let id = id_of(id, created);
        if let Some(value) = held.get_mut(&id) {
            *value = patch.clone();
            updated.insert(id, Value::Null);
        }
    }
    let destroy = ids(destroy, created).unwrap_or_default();
    let destroyed: Vec<_> =
        destroy.into_iter().filter(|id| held.insert(id.clone(), Value::Null).is_some()).collect();
    (name.to_owned(), json!({ "created": made, "updated": updated, "destroyed": destroyed }))
}

/// §3.7.
fn resolve(
    arguments: &Map<String, Value>,
    responses: &[(String, Value, String)],
) -> Result<Map<String, Value>, &'static str> {
    let plain = |name: &str| name.strip_prefix('#').map(str::to_owned);
    if arguments.keys().filter_map(|name| plain(name)).any(|name| arguments.contains_key(&name)) {
        return Err("invalidArguments");
    }
    let follow = |reference: &Value| -> Option<Value> {
        let [of, name, path] = ["resultOf", "name", "path"].map(|name| reference[name].as_str());
        let first = responses.iter().find(|(_, _, id)| Some(&**id) == of)?;
        let tokens: Vec<&str> = path?.split('/').skip(1).collect();
        if Some(&*first.0) == name { evaluate(&first.1, &tokens) } else { None }
    };
    let resolved = arguments.iter().map(|(name, value)| match plain(name) {
        Some(name) => Ok((name, follow(value).ok_or("invalidResultReference")?)),
        None => Ok((name.clone(), value.clone())),
    });
    resolved.collect()
}

fn evaluate(value: &Value, path: &[&str]) -> Option<Value> {
    let [token, rest @ ..] = path else { return Some(value.clone()) };
    match value {
        Value::Array(members) if *token == "*" => {
            let mut all = Vec::new();
            for member in members {
                match evaluate(member, rest)? {
                    Value::Array(inner) => all.extend(inner),
                    other => all.push(other),
                }
            }
            Some(Value::Array(all))
        }
        Value::Array(members) => evaluate(members.get(token.parse::<usize>().ok()?)?, rest),
        Value::Object(members) => evaluate(members.get(*token)?, rest),
        _ => None,
    }
}
