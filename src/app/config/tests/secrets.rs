//! Mistakes in and around keys that hold a secret. The error message names the place and never repeats the value.

use super::*;

#[test]
fn no_error_message_repeats_a_possible_secret() {
    for (text, place) in [
        // A misspelt name, a property that the bridge sets itself, one property twice, a value that librdkafka does not accept.
        (
            "[kafka.properties]\n'sasl.pasword' = 'planted'",
            "imbridge.toml line 2 column 1: kafka.properties.\"sasl.pasword\"",
        ),
        (
            "[kafka.properties]\n'delivery.timeout.ms' = 'planted'",
            "delivery.timeout.ms",
        ),
        (
            "[kafka.properties]\n'sasl.mechanism' = 'PLAIN'\n'sasl.mechanisms' = 'PLAIN'",
            "sasl.mechanisms",
        ),
        (
            "[kafka.properties]\n'security.protocol' = 'planted'",
            "imbridge.toml line 2 column 1: kafka.properties.\"security.protocol\"",
        ),
        // Not TOML.
        (
            "[kafka.properties]\n\"sasl.password\" = planted",
            "imbridge.toml line 2 column 19",
        ),
        (
            "[kafka.properties]\n\"sasl.password\" = \"planted",
            "imbridge.toml line 2 column",
        ),
        (
            "[kafka.properties]\n\"sasl.password\" = \"planted\\q\"",
            "imbridge.toml line 2 column",
        ),
        (
            "[kafka.properties]\n\"sasl.password\" = \"planted\" planted",
            "imbridge.toml line 2 column",
        ),
        (
            "[kafka.properties]\n\"sasl.password\" \"planted\"",
            "imbridge.toml line 2 column",
        ),
        (
            "[kafka.properties]\n\"a\" = \"planted\"\n\"a\" = \"planted\"",
            "imbridge.toml line 3 column 1",
        ),
        // Not a string.
        (
            "[kafka.properties]\nsasl.password = 'planted'",
            "imbridge.toml line 2 column 1: kafka.properties.sasl",
        ),
        (
            "[kafka.properties]\n'sasl.password' = 7777",
            "imbridge.toml line 2 column 1: kafka.properties.sasl.password",
        ),
        (
            "[kafka.properties]\n'sasl.password' = ['planted']",
            "kafka.properties.sasl.password",
        ),
        (
            "[kafka]\nproperties = 'planted'",
            "imbridge.toml line 2 column 1: kafka.properties",
        ),
        (
            "[kafka]\n'sasl.password' = 'planted'",
            "imbridge.toml line 2 column 1: kafka.sasl.password",
        ),
        // Other keys with secrets.
        (
            "[admin]\ntoken = 'planted'",
            "imbridge.toml line 2 column 1: admin.token",
        ),
        ("[admin]\ntoken = 7777", "imbridge.toml line 2 column 1: admin.token"),
        ("[admin]\ntoken = { a = 'planted' }", "admin.token"),
        (
            "[schemas]\nregistry_url = 'http://a'\nregistry_auth = 'planted:planted'",
            "schemas.registry_auth",
        ),
        (
            "[schemas]\nregistry_url = 'http://a'\nregistry_auth = 7777",
            "schemas.registry_auth",
        ),
        ("[schemas]\nregistry_url = 'http://user:planted@a'", "...@a"),
        ("[log]\notlp_endpoint = 'http://user:planted@a'", "...@a"),
        ("[[openim]]\nname = 'a'\nbasic_auth = 7777.5", "openim[0].basic_auth"),
        (
            "[[openim]]\nname = 'a'\nsignature = { secret = 7777 }",
            "openim[0].signature.secret",
        ),
        ("[[openim]]\nname = 'a'\nsignature = 'planted'", "openim[0].signature"),
    ] {
        let error = parse(&format!("{text}\n"), &[]).unwrap_err();
        assert!(error.contains(place), "{text}\ngives\n{error}");
        assert!(
            !error.contains("planted") && !error.contains("7777"),
            "{text}\ngives\n{error}"
        );
    }
    for (name, value) in [
        ("KAFKA__PROPERTIES__SASL_PASWORD", "planted"),
        ("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "planted"),
        ("KAFKA__PROPERTIES", "{ \"a\" = 7777 }"),
        ("KAFKA__PROPERTIES", "planted"),
        ("KAFKA__SASL_PASSWORD", "planted"),
        ("ADMIN__TOKEN", "7777"),
        ("ADMIN__TOKEN", "planted"),
        ("OPENIM__0__BASIC_AUTH", "true"),
    ] {
        let name = format!("IMBRIDGE_{name}");
        let error = parse(&format!("{LEAST}[[openim]]\nname = \"a\"\n"), &[(&name, value)]).unwrap_err();
        assert!(!error.contains("planted") && !error.contains("7777"), "{name}: {error}");
        let is_named = error.contains(&name) || error.contains("kafka.properties") || error.contains("kafka.sasl");
        assert!(is_named, "{name}: {error}");
    }
    // A password that looks like a number is a string.
    let config = parse(LEAST, &[("IMBRIDGE_KAFKA__PROPERTIES__SASL_PASSWORD", "7777")]).unwrap();
    assert_eq!(config.kafka.properties.get("sasl.password"), Some("7777"));
}
