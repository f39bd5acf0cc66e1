//! What a credential looks like in text. Knows shapes and names only; must not know documents, keys or records.
//!
//! Sources: AWS IAM "Unique identifiers" (access key ids), RFC 7468 (PEM), RFC 7519 (JWT), RFC 6750 (bearer), RFC 3986
//! section 3.2.1 (userinfo), the published token prefixes of GitHub, GitLab, Slack, Stripe, Google, npm and Vault.

use std::ops::Range;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::{Regex, RegexSet};

/// Where a text stands; what starts a process is looked at more closely than prose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Any string of an object, or a message.
    Anywhere,
    /// An environment variable's value, an argument or a command.
    Launch,
}

/// The secret is group 1 where there is one, else the whole match. Word boundaries are ASCII ones: Unicode's take the
/// regex engine off its fast path for all text that is not ASCII.
const PATTERNS: [&str; 13] = [
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16,}",
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\z)",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*",
    r"(?i)bearer\s+([A-Za-z0-9._~+/=-]{16,})",
    r#"(?i)authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|token|digest)\s+)?([^\s"']+)"#,
    r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@:]*:([^\s/]+)@",
    r"(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|gl(?:pat|ptt|rt)-[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{8,}|[rs]k_(?:live|test)_[A-Za-z0-9]{8,}|AIza[A-Za-z0-9_-]{30,}|npm_[A-Za-z0-9]{30,}|hv[sb]\.[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{20,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
    r#"(?i-u:password|passwd|passphrase|pwd|[_-]pass|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|secret[_-]?key|credentials?)["']?(?:=|%3[Dd])\\*["']?([^\s"'\\,;&]+)"#,
    r#"(?i-u:password|passwd|passphrase|[_-]pass)["']?[ \t]+=[ \t]*["']?([^\s"',;&]+)"#,
    r#"(?i-u:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|secret[_-]?key|credentials?)\\*["']\s*:\s*\\*["']([^"'\\]+)"#,
    r"(?i-u:password|passwd|passphrase)\s*(?::|(?-u:\b)[Ii][Ss](?-u:\b))\s*([^\s,;]+)",
    r#"(?i-u:token|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|client[_-]?secret)[ \t]*[:=][ \t]+["']?([^\s"'|>#{\[&*][^\s"']*)"#,
    r"(?i-u:basic)[ \t]+([A-Za-z0-9+/_-]{4,}={0,2})",
];

#[expect(clippy::expect_used, reason = "the patterns are constants and every test of this room compiles them")]
static SET: LazyLock<RegexSet> = LazyLock::new(|| RegexSet::new(PATTERNS).expect("constant patterns"));
#[expect(clippy::expect_used, reason = "the patterns are constants and every test of this room compiles them")]
static EACH: LazyLock<Vec<Regex>> =
    LazyLock::new(|| PATTERNS.iter().map(|p| Regex::new(p).expect("constant pattern")).collect());

/// What is only a credential on a command line: flags whose value comes after a space, and logins.
const LAUNCHED: [&str; 2] = [
    r#"(?:^|[ \t\n"'])--?(?i-u:[a-z0-9_-]*(?:password|passwd|passphrase|pass|token|secret|api-?key|access-?key|secret-?key|private-?key))[ \t]+["']?([^\s"'-][^\s"']*)"#,
    r#"(?:^|[ \t\n"'])(?:-u|--user|--proxy-user)[ =]?["']?[^\s:"'=]+:([^\s"']+)"#,
];
#[expect(clippy::expect_used, reason = "the patterns are constants and every test of this room compiles them")]
static LAUNCH: LazyLock<Vec<Regex>> =
    LazyLock::new(|| LAUNCHED.iter().map(|p| Regex::new(p).expect("constant pattern")).collect());

/// The shortest text that can hold a credential by shape alone.
const SHORTEST: usize = 20;
/// Shortest run of letters and digits that entropy is measured of.
const DENSE: usize = 24;
/// Shortest run of hex digits that is taken for a key where processes are started.
const HEX: usize = 32;

/// Byte ranges of what looks like a credential: ascending, not overlapping, on character boundaries.
pub(super) fn find(text: &str, place: Place) -> Vec<Range<usize>> {
    let marks = |b: u8| matches!(b, b'=' | b'@' | b':' | b'%') || (b == b' ' && place == Place::Launch);
    if text.len() < SHORTEST && !text.bytes().any(marks) {
        return Vec::new();
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    for pattern in &SET.matches(text) {
        let Some(regex) = EACH.get(pattern) else { continue };
        for captures in regex.captures_iter(text) {
            if let Some(secret) = captures.get(1).or_else(|| captures.get(0))
                && !is_reference(secret.as_str())
                && match pattern {
                    BASIC => is_login(secret.as_str()),
                    PROSE => !SAID.contains(
                        &secret.as_str().trim_end_matches(['.', '!', ')', '"', '\'']).to_lowercase().as_str(),
                    ),
                    LINE => captures.get(0).is_some_and(|whole| begins_a_line(text, whole.start())),
                    _ => true,
                }
            {
                found.push(secret.range());
            }
        }
    }
    if place == Place::Launch && text.contains("-") && text.contains([' ', ':']) {
        for captures in LAUNCH.iter().flat_map(|regex| regex.captures_iter(text)) {
            let Some(secret) = captures.get(1).filter(|s| !is_reference(s.as_str())) else { continue };
            // A user and a group are numbers, or of one name.
            let before = text.get(..secret.start()).unwrap_or_default();
            let group = before.strip_suffix(':').is_some_and(|before| before.ends_with(secret.as_str()));
            if !group && !secret.as_str().bytes().all(|b| b.is_ascii_digit()) {
                found.push(secret.range());
            }
        }
    }
    dense(text, place, &mut found);
    merge(found)
}

/// The pattern of HTTP's basic authentication (RFC 7617) among [`PATTERNS`].
const BASIC: usize = PATTERNS.len() - 1;

/// The pattern of `the password is value` among [`PATTERNS`].
const PROSE: usize = PATTERNS.len() - 3;
/// What is said of passwords.
const SAID: [&str; 22] = [
    "required",
    "missing",
    "empty",
    "invalid",
    "not",
    "set",
    "unset",
    "wrong",
    "too",
    "expired",
    "incorrect",
    "needed",
    "mandatory",
    "optional",
    "null",
    "none",
    "a",
    "the",
    "in",
    "no",
    "weak",
    "masked",
];

/// The pattern of `token: value` among [`PATTERNS`]: in prose it says nothing.
const LINE: usize = PATTERNS.len() - 2;

/// Whether between the beginning of the line and this place stands no more than the beginning of a name.
fn begins_a_line(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start_matches([' ', '\t', '-', '"', '\'']);
    line.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Whether a text is base64 of `user:password`; after `basic` mostly stands a word.
fn is_login(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text));
    bytes.is_ok_and(|bytes| bytes.contains(&b':') && std::str::from_utf8(&bytes).is_ok())
}

/// Overlapping and touching ranges as one.
pub(super) fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|r| (r.start, r.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Whether an environment variable (or a parameter) of this name holds a credential.
pub(super) fn names_a_credential(name: &str) -> bool {
    const WITHIN: [&str; 10] = [
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "TOKEN",
        "SECRET",
        "CREDENTIAL",
        "KEY",
        "CONNECTIONSTRING",
        "COOKIE",
        "AUTHORIZATION",
    ];
    const AT_END: [&str; 4] = ["PASS", "AUTH", "DSN", "PWD"];
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    WITHIN.iter().any(|w| name.contains(w)) || (AT_END.iter().any(|w| name.ends_with(w)) && name != "PWD")
}

/// Whether the field `name` of any object holds a credential when its value is a string. Narrower than
/// [`names_a_credential`]: a `secretName` or a toleration's `key` is none.
pub(super) fn field_holds_credential(name: &str) -> bool {
    const AT_END: [&str; 20] = [
        "webhooksecret",
        "appsecret",
        "apisecret",
        "consumersecret",
        "encryptionkey",
        "signingkey",
        "authkey",
        "password",
        "passwd",
        "passphrase",
        "token",
        "apikey",
        "secretkey",
        "accesskey",
        "privatekey",
        "clientsecret",
        "sharedsecret",
        "connectionstring",
        "credentials",
        "authorization",
    ];
    // From the end, since most names differ there at once.
    let signs = || name.bytes().rev().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase());
    let last = signs().next();
    // What ends in it names a Secret more often than it is one.
    if last == Some(b't') && signs().eq("secret".bytes().rev()) {
        return true;
    }
    AT_END.iter().filter(|end| end.bytes().last() == last).any(|end| signs().take(end.len()).eq(end.bytes().rev()))
}

/// Whether the strings of a list of this name are credentials: `passwords`, `apiKeys`.
pub(super) fn list_holds_credentials(name: &str) -> bool {
    field_holds_credential(name) || name.strip_suffix('s').is_some_and(field_holds_credential)
}

/// Whether the next argument may be a user with a password, as curl takes them.
pub(super) fn is_login_flag(argument: &str) -> bool {
    matches!(argument, "-u" | "--user" | "--proxy-user")
}

/// The password of `user:password`; what is all numbers is a group.
pub(super) fn password_of(login: &str) -> Option<&str> {
    let (user, password) = login.split_once(':')?;
    // A user and a group often have one name.
    (!password.is_empty()
        && user != password
        && !password.bytes().all(|b| b.is_ascii_digit())
        && !is_reference(password))
    .then_some(password)
}

/// Whether an argument is a flag whose value is the next argument and a credential, such as `--password`.
pub(super) fn is_credential_flag(argument: &str) -> bool {
    let flag = |argument: &str| field_holds_credential(argument) || argument.to_ascii_lowercase().ends_with("-pass");
    argument.starts_with('-') && !argument.contains(['=', ' ']) && flag(argument)
}

/// `$(NAME)`, `${NAME}` and `$NAME` name a secret and hold none.
pub(super) fn is_reference(value: &str) -> bool {
    let Some(rest) = value.strip_prefix('$') else { return false };
    let name = rest
        .strip_prefix('(')
        .and_then(|r| r.strip_suffix(')'))
        .or_else(|| rest.strip_prefix('{').and_then(|r| r.strip_suffix('}')))
        .unwrap_or(rest);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Long runs that are too mixed to be words: base64 or base62 anywhere, hex where processes are started.
fn dense(text: &str, place: Place, found: &mut Vec<Range<usize>>) {
    if text.len() < DENSE {
        return;
    }
    let bytes = text.as_bytes();
    let mut start = 0;
    for run in bytes.split(|b| !(b.is_ascii_alphanumeric() || b"+/_-".contains(b))) {
        let end = start + run.len();
        let hashed = bytes.get(..start).is_some_and(|b| b.ends_with(b"sha256:") || b.ends_with(b"sha512:"));
        if !hashed && (is_mixed(run) || (place == Place::Launch && is_hex_key(run))) {
            found.push(start..end);
        }
        start = end + 1;
    }
}

fn is_hex_key(run: &[u8]) -> bool {
    run.len() >= HEX && run.iter().all(u8::is_ascii_hexdigit) && run.iter().any(u8::is_ascii_digit)
}

fn is_mixed(run: &[u8]) -> bool {
    if run.len() < DENSE {
        return false;
    }
    let (mut upper, mut lower, mut digit) = (0_usize, 0_usize, 0_usize);
    let mut counts = [0_u32; 128];
    for byte in run {
        upper += usize::from(byte.is_ascii_uppercase());
        lower += usize::from(byte.is_ascii_lowercase());
        digit += usize::from(byte.is_ascii_digit());
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    if upper < 2 || lower < 2 || digit < 1 || changes(run) * 10 < (upper + lower + digit) * 3 {
        return false;
    }
    // Shannon entropy in bits a byte. Random base64 of 24 bytes has about 4.3, CamelCase prose below 3.9.
    let length = f64::from(u32::try_from(run.len()).unwrap_or(u32::MAX));
    let entropy: f64 = counts
        .iter()
        .filter(|c| **c > 0)
        .map(|c| {
            let share = f64::from(*c) / length;
            -share * share.log2()
        })
        .sum();
    entropy >= 3.9
}

/// How often the kind of character changes. Random base62 changes at six of ten places, paths and words at one or two.
fn changes(run: &[u8]) -> usize {
    let kind = |b: &u8| (b.is_ascii_uppercase(), b.is_ascii_digit());
    let signs = || run.iter().filter(|b| b.is_ascii_alphanumeric());
    signs().zip(signs().skip(1)).filter(|(a, b)| kind(a) != kind(b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, place: Place) -> Vec<&str> {
        find(text, place).into_iter().map(|r| text.get(r).expect("on boundaries")).collect()
    }

    #[test]
    fn credentials_are_found() {
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl";
        let cases = [
            ("key AKIAIOSFODNN7EXAMPLE found", "AKIAIOSFODNN7EXAMPLE"),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("postgres://app:hunter2@db:5432/x", "hunter2"),
            ("redis://:p@ss@cache", "p@ss"),
            ("curl -H 'Authorization: Bearer abc'", "abc"),
            ("Bearer 0123456789abcdef", "0123456789abcdef"),
            ("--db-password=hunter2", "hunter2"),
            ("x?access_token=abc&y=1", "abc"),
            (r#"{"password": "hunter2"}"#, "hunter2"),
            ("the password is hunter2", "hunter2"),
            ("ghp_0123456789abcdefghijABCDEFGHIJ", "ghp_0123456789abcdefghijABCDEFGHIJ"),
            (jwt, jwt),
            ("--db-pass=hunter2", "hunter2"),
            ("export DB_PASS=hunter2; run", "hunter2"),
            ("password = hunter2", "hunter2"),
            ("apiVersion: v1\ntoken: abc\nname: x", "abc"),
            ("[db]\napi_key = abc", "abc"),
            ("https://x/?q=password%3Dhunter2", "hunter2"),
            (r#"{\"a\": \"{\\\"password\\\":\\\"hunter2\\\"}\"}"#, "hunter2"),
            ("sent Basic YWxpY2U6aHVudGVyMg== to it", "YWxpY2U6aHVudGVyMg=="),
        ];
        for (text, secret) in cases {
            assert_eq!(found(text, Place::Anywhere), [secret], "{text}");
        }
        for (text, secret) in [
            ("mysql --password hunter2 -h db", "hunter2"),
            ("curl -u alice:hunter2 https://x", "hunter2"),
            ("--user=alice:hunter2", "hunter2"),
            ("curl -ualice:hunter2 https://x", "hunter2"),
            ("run --api-key 'abc' x", "abc"),
        ] {
            assert_eq!(found(text, Place::Launch), [secret], "{text}");
        }
        let pem = "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b";
        assert_eq!(found(pem, Place::Anywhere), [pem.get(2..pem.len() - 2).expect("inside")]);
        let hex = "0123456789abcdef0123456789abcdef";
        assert_eq!(found(hex, Place::Launch), [hex]);
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        let image = "registry.k8s.io/pause@sha256:7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097";
        for text in [
            image,
            "/dev/termination-log",
            "LimitRanger plugin set: cpu, memory request for container shell",
            "31c1b672-29ad-4a58-9660-879f1f7197b5",
            "postgres://app:$(DB_PASSWORD)@db/x",
            "--password=${PASSWORD}",
            "https://kubernetes.default.svc:443/healthz",
            "node.kubernetes.io/not-ready=true:NoExecute",
            "arn:aws:iam::123456789012:role/KarpenterNodeRole-demo",
            "/request/object/spec/jobTemplate/spec/template/spec/initContainers/0/env/0/value",
            "spec.template.spec.containers[0].securityContext.allowPrivilegeEscalation",
            "/Users/Shared/Applications/MyProject2/build",
            "container `api` must set securityContext.allowPrivilegeEscalation to false",
            "basic authentication is off, Basic networking is on",
            "tokens: 5 of 7",
            "apiKeyRef: name",
            "see the token review: it says no",
            "the password is required, and the password: missing",
            "its password is not set.",
        ] {
            assert_eq!(found(text, Place::Anywhere), [""; 0], "{text}");
        }
        for text in [
            image,
            "chown -u 1000:1000 x",
            "su -u app:app x",
            "--user 1000:1000",
            "ls --token-file x",
            "git clone --pass $PASS",
        ] {
            assert_eq!(found(text, Place::Launch), [""; 0], "{text}");
        }
    }

    #[test]
    fn names() {
        for name in ["DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "apiKey", "GITHUB_TOKEN", "MYSQL_PASS", "SENTRY_DSN"] {
            assert!(names_a_credential(name), "{name}");
        }
        for name in ["PATH", "PWD", "LOG_LEVEL", "HOSTNAME", "PASSENGER_PORT"] {
            assert!(!names_a_credential(name), "{name}");
        }
        for field in ["secretName", "key", "topologyKey", "secretKeyRef", "tokenExpirationSeconds"] {
            assert!(!field_holds_credential(field), "{field}");
        }
        for field in ["imagePullSecret", "secretRef", "tlsSecret", "partitionKey"] {
            assert!(!field_holds_credential(field), "{field}");
        }
        for field in ["masterUserPassword", "secret", "webhookSecret", "encryptionKey"] {
            assert!(field_holds_credential(field), "{field}");
        }
        assert!(is_credential_flag("--api-key") && is_credential_flag("--db-pass") && !is_credential_flag("--bypass"));
    }
}
