//! `providers.aws.sign_req`: AWS Signature Version 4. Pure: the time is an operand, nothing is sent.
//!
//! Source: "Signing AWS API requests" of the IAM user guide; OPA's documentation for the shape of the operands.

use std::collections::BTreeMap;

use regorus::Value;

use super::call::{Builtin, CallError, Outcome, field, integer, object, operand, wrong};
use super::crypto::signature::Hash;
use super::encoding::{json, to_hex};
use super::uri::Uri;

pub(super) const BUILTINS: &[Builtin] = &[Builtin { name: "providers.aws.sign_req", arity: 3, call: sign_req }];

const HASH_HEADER: &str = "x-amz-content-sha256";

/// The strings under `keys`; missing and malformed ones are named.
fn strings<'a, const N: usize>(
    args: &'a [Value],
    n: usize,
    keys: [&str; N],
    what: &str,
) -> Result<[&'a str; N], CallError> {
    let given = operand(args, n)?;
    if !matches!(given, Value::Object(_)) {
        return Err(wrong(n, "object", given));
    }
    let named = |wrong: &dyn Fn(&str) -> bool| {
        let names: Vec<String> = keys.iter().filter(|key| wrong(key)).map(|key| format!("{key:?}")).collect();
        names.join(", ")
    };
    let missing = named(&|key| field(given, key).is_none());
    if !missing.is_empty() {
        return Err(format!("operand {} missing required {what} parameters(s): {{{missing}}}", n + 1).into());
    }
    let invalid = named(&|key| !matches!(field(given, key), Some(Value::String(_))));
    if !invalid.is_empty() {
        return Err(format!("operand {} invalid values for required {what} parameters(s): {{{invalid}}}", n + 1).into());
    }
    Ok(keys.map(|key| match field(given, key) {
        Some(Value::String(text)) => text.as_ref(),
        _ => "",
    }))
}

fn sign_req(args: &[Value]) -> Outcome {
    let keys = ["aws_service", "aws_access_key", "aws_secret_access_key", "aws_region"];
    let [service, access_key, secret, region] = strings(args, 1, keys, "AWS config")?;
    let (request, config) = (operand(args, 0)?, operand(args, 1)?);
    let time = integer(args, 2)?;
    if time < 0 {
        return Err("operand 3 could not convert time_ns value into a unix timestamp".into());
    }
    let (date, stamp) = timestamps(time);
    let [method, url] = strings(args, 0, ["method", "url"], "request")?;
    let mut headers: BTreeMap<String, Value> = BTreeMap::new();
    match field(request, "headers") {
        None => {}
        Some(Value::Object(given)) => {
            for (key, value) in given.iter() {
                if let (Value::String(key), Value::String(_)) = (key, value) {
                    headers.insert(key.as_ref().to_owned(), value.clone());
                }
            }
        }
        Some(other) => return Err(wrong(0, "object with an object of headers", other)),
    }
    let unsigned = match field(config, "disable_payload_signing") {
        None => false,
        Some(Value::Bool(disabled)) => *disabled,
        Some(_) => return Err("operand 2 invalid value for 'disable_payload_signing' in AWS config".into()),
    };
    let body = match (field(request, "raw_body"), field(request, "body")) {
        (Some(Value::String(raw)), _) => raw.as_ref().to_owned(),
        (Some(_), _) | (None, None) => String::new(),
        (None, Some(body)) => json(body)?,
    };
    let hash = if unsigned { "UNSIGNED-PAYLOAD".to_owned() } else { to_hex(&Hash::Sha256.digest(body.as_bytes())) };
    let uri = Uri::parse(url)?;
    let host = if uri.port.is_empty() { uri.host.clone() } else { format!("{}:{}", uri.host, uri.port) };
    let mut added = BTreeMap::from([("host", host), ("x-amz-date", stamp.clone())]);
    if service == "s3" || service == "glacier" {
        added.insert(HASH_HEADER, hash.clone());
    }
    if let Some(Value::String(token)) = field(config, "aws_session_token") {
        added.insert("x-amz-security-token", token.as_ref().to_owned());
    }
    let signed = signed_headers(&headers, &added);
    let names = signed.keys().map(String::as_str).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    // Method, path and query as they are given: so OPA signs them.
    let canonical = format!("{method}\n{}\n{}\n{lines}\n{names}\n{hash}", uri.raw_path, uri.raw_query);
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let digest = to_hex(&Hash::Sha256.digest(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
    let first = format!("AWS4{secret}").into_bytes();
    let key = [date.as_str(), region, service, "aws4_request"]
        .iter()
        .fold(first, |key, part| Hash::Sha256.hmac(&key, part.as_bytes()));
    let signature = to_hex(&Hash::Sha256.hmac(&key, to_sign.as_bytes()));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope},SignedHeaders={names},Signature={signature}");
    headers.insert("Authorization".to_owned(), Value::from(authorization));
    headers.extend(added.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))));
    let mut answer = request.clone();
    answer.as_object_mut()?.insert(Value::from("headers"), object(headers));
    Ok(answer)
}

/// Names in lower case and in order; a header of the request goes before ours. Headers that proxies change are not
/// signed.
fn signed_headers(given: &BTreeMap<String, Value>, added: &BTreeMap<&str, String>) -> BTreeMap<String, String> {
    let mut signed: BTreeMap<String, String> =
        added.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    for (name, value) in given {
        let name = name.to_lowercase();
        let changes = ["authorization", "user-agent", "x-amzn-trace-id"].contains(&name.as_str());
        if let (Value::String(value), false) = (value, changes) {
            signed.insert(name, value.as_ref().to_owned());
        }
    }
    signed
}

/// `20151228` and `20151228T140825Z`, in UTC.
fn timestamps(ns: i64) -> (String, String) {
    let seconds = ns.div_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in years that end with February: the civil calendar of 400 years repeats.
    let day = days + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    let stamp = format!("{date}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    (date, stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        for (seconds, wanted) in [
            (0, "19700101T000000Z"),
            (1_451_311_705, "20151228T140825Z"),
            (951_782_400, "20000229T000000Z"),
            (-1, "19691231T235959Z"),
        ] {
            assert_eq!(timestamps(seconds * 1_000_000_000).1, wanted);
        }
    }
}
