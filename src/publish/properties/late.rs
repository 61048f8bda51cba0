//! Values that librdkafka accepts in the configuration and refuses only when a client is created or connects. Its error message then
//! repeats the value, so these values are checked here first, with error messages that do not.

/// Properties whose values are lists, and the members that librdkafka knows.
const LISTS: [(&str, &[&str]); 2] = [
    (
        "sasl.mechanisms",
        &[
            "PLAIN",
            "SCRAM-SHA-1",
            "SCRAM-SHA-256",
            "SCRAM-SHA-512",
            "OAUTHBEARER",
            "GSSAPI",
        ],
    ),
    (
        "partition.assignment.strategy",
        &["range", "roundrobin", "cooperative-sticky"],
    ),
];

/// The form of an unsecured token's configuration.
const TOKEN: &str = "principal=NAME, optionally with principalClaimName=, scopeClaimName=, scope=, lifeSeconds= and extension_NAME=, separated by spaces";

/// Why librdkafka will refuse the value of a property, which has its canonical name here.
pub(super) fn refusal(property: &str, value: &str) -> Option<String> {
    if property == "sasl.oauthbearer.config" {
        return (!is_token(value)).then(|| format!("its value is not of the form {TOKEN}"));
    }
    let (_, known) = LISTS.iter().find(|(list, _)| *list == property)?;
    let fits = value.split(',').all(|member| known.contains(&member.trim()));
    (!fits).then(|| format!("its value is not one of {}", known.join(", ")))
}

fn is_token(text: &str) -> bool {
    let entries: Vec<_> = text.split(' ').filter(|entry| !entry.is_empty()).collect();
    let fits = |entry: &&str| {
        let Some((name, value)) = entry.split_once('=') else {
            return false;
        };
        match name {
            "principal" | "principalClaimName" | "scopeClaimName" | "scope" => {
                !value.is_empty() && !value.contains('"')
            }
            "lifeSeconds" => value.parse::<u32>().is_ok_and(|seconds| seconds > 0),
            _ => {
                let letters = name.strip_prefix("extension_").unwrap_or_default().as_bytes();
                let is_name = !letters.is_empty() && letters.iter().all(u8::is_ascii_alphabetic) && letters != b"auth";
                is_name && value.bytes().all(|byte| byte.is_ascii_graphic())
            }
        }
    };
    entries.iter().all(fits) && entries.iter().any(|entry| entry.starts_with("principal="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_librdkafka_would_repeat_are_refused_and_valid_ones_are_not() {
        for (property, value, fits) in [
            ("sasl.mechanisms", "SCRAM-SHA-512", true),
            ("sasl.mechanisms", "planted", false),
            ("partition.assignment.strategy", "range, roundrobin", true),
            ("partition.assignment.strategy", "range, planted", false),
            ("sasl.oauthbearer.config", "principal=a", true),
            (
                "sasl.oauthbearer.config",
                "principal=a scope=b,c  lifeSeconds=60 extension_x=y",
                true,
            ),
            ("sasl.oauthbearer.config", "planted", false),
            ("sasl.oauthbearer.config", "principal=a planted", false),
            ("sasl.oauthbearer.config", "principal=plant\"ed", false),
            ("sasl.oauthbearer.config", "principal=a lifeSeconds=planted", false),
            ("sasl.oauthbearer.config", "principal=a extension_x1=planted", false),
            ("sasl.oauthbearer.config", "scope=planted", false),
            ("client.rack", "planted", true),
        ] {
            let refusal = refusal(property, value);
            assert_eq!(refusal.is_none(), fits, "{property} = {value}");
            assert!(!refusal.unwrap_or_default().contains("planted"));
        }
    }
}
