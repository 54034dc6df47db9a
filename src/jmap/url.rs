//! URLs and URI templates of a Session (RFC 8620 §2) as text: a URL library would percent-encode the
//! braces of a template (protocol.md §5.1).

/// The path of a URL that may be absolute, absolute-path or relative to `base` (RFC 3986 §5.2).
#[must_use]
pub fn path_of(url: &str, base: &str) -> String {
    if let Some((_, rest)) = url.split_once("://") {
        let (_, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        return if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    }
    if url.starts_with('/') {
        return url.to_owned();
    }
    let base = base.split('?').next().unwrap_or("");
    let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
    format!("{directory}/{url}")
}

/// Host and port of a URL or template; `None` if it is relative.
#[must_use]
pub fn authority_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    Some(rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())).0)
}

/// Whether `authority` is one of `names`.
#[must_use]
pub fn is_among(names: &[&str], authority: &str) -> bool {
    let authority = without_default_port(authority);
    names.iter().any(|name| without_default_port(name).eq_ignore_ascii_case(authority))
}

/// Without a port that says no more than the scheme: which scheme it was does not matter here, as
/// what is in front of us may end TLS.
fn without_default_port(authority: &str) -> &str {
    let bare = authority.strip_suffix(":443").or_else(|| authority.strip_suffix(":80"));
    bare.unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_form_have_a_path() {
        assert_eq!(path_of("https://jmap.example/api/", "/.well-known/jmap"), "/api/");
        assert_eq!(path_of("https://jmap.example", "/x"), "/");
        assert_eq!(path_of("https://jmap.example?x=a/b", "/x"), "/?x=a/b");
        assert_eq!(path_of("/jmap/", "/jmap"), "/jmap/");
        assert_eq!(path_of("api?x=1", "/jmap/session?a/b"), "/jmap/api?x=1");
    }

    #[test]
    fn a_host_is_the_same_with_the_port_of_its_scheme() {
        assert_eq!(authority_of("wss://Mail.example:443/ws{x}"), Some("Mail.example:443"));
        assert_eq!(authority_of("/ws?to=http:x"), None);
        assert!(is_among(&["mail.example"], "Mail.example:443"));
        assert!(!is_among(&["mail.example", "127.0.0.1:8080"], "mail.example:8080"));
    }
}
