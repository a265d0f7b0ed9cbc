//! Web frameworks that answer only to hosts that their settings name, as their pages and their logs tell.

/// What a page or a log line says, and what it means.
const REFUSALS: [(&str, &str); 6] = [
    ("Invalid HTTP_HOST header", DJANGO),
    ("DisallowedHost", DJANGO),
    // All that Django shows of it outside of its debug mode; it logs nothing then.
    ("<h1>Bad Request (400)</h1>", DJANGO),
    ("Blocked hosts", "Rails does not know the host by which it is called: add it to `config.hosts`"),
    (
        "Blocked request. This host",
        "Vite does not know the host by which it is called: add it to `server.allowedHosts` (of `vite preview`: `preview.allowedHosts`)",
    ),
    (
        "Invalid Host header",
        "webpack's development server does not know the host by which it is called: add it to `devServer.allowedHosts`",
    ),
];
const DJANGO: &str = "Django does not know the host by which it is called: add it to `ALLOWED_HOSTS` in the settings, or let \
    them read that from a variable and send it in `environment`";

/// What a text means that refuses the host of a request.
#[must_use]
pub fn refused_host(text: &str) -> Option<&'static str> {
    REFUSALS.iter().find(|(said, _)| text.contains(said)).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_framework_is_known_by_its_page_and_its_log() {
        let django = "<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Bad Request (400)</title>\n</head>\n<body>\n  <h1>Bad Request (400)</h1><p></p>\n</body>\n</html>";
        let log = "Invalid HTTP_HOST header: 'localhost:30000'. You may need to add 'localhost' to ALLOWED_HOSTS.";
        let vite = "Blocked request. This host (\"a.test\") is not allowed.";

        assert!([django, log].iter().all(|it| refused_host(it).unwrap().contains("`ALLOWED_HOSTS`")));
        assert!(refused_host(vite).unwrap().contains("`server.allowedHosts`"));
        assert_eq!(refused_host("<h1>400 Bad Request</h1> nginx"), None);
    }
}
