//! The body of `POST /demo/deliver`.

use serde::Deserialize;

/// A mail from outside; everything has a default.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct NewMail {
    pub(super) account_id: String,
    pub(super) from: String,
    pub(super) subject: String,
    pub(super) text: String,
    /// Whether the proxy is told; when not, it is for its probe to find out.
    pub(super) notify: bool,
}

impl Default for NewMail {
    fn default() -> Self {
        Self {
            account_id: "alice".to_owned(),
            from: "Carol Cole <carol@elsewhere.example>".to_owned(),
            subject: "A mail has come in".to_owned(),
            text: "Nobody asked for it; the server just has it now.\n".to_owned(),
            notify: true,
        }
    }
}
