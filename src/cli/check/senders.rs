//! Whether each sender's secret passes where its IM server will post, by the code that verifies requests. No port is opened.

use std::sync::Arc;

use super::Report;
use crate::app::Config;
use crate::callback::{CommandTable, Head, Provider};
use crate::cli::post::Senders;
use crate::lifecycle::unix_ms;
use crate::provider::Providers;

/// A line for each sender. Addresses are not looked at, nor is a signature, which OpenIM alone can make.
pub(super) fn check(config: &Config, report: &mut Report) {
    let mut senders = Senders::of(config);
    senders.tencent.iter_mut().for_each(|app| app.allow = None);
    for instance in &mut senders.openim {
        (instance.allow, instance.signature) = (None, None);
    }
    let providers = Providers::new(&senders.tencent, &senders.openim, Arc::new(CommandTable::default()));
    let tencent = senders.tencent.iter().map(|app| {
        let way = if app.token.is_some() { "signed" } else { "not signed" };
        (
            Provider::Tencent,
            app.sdk_app_id.to_string(),
            format!("at /tencent, {way}"),
        )
    });
    let openim = senders.openim.iter().map(|instance| {
        let secret = instance.secret.as_ref().map_or("", |_| "/<secret>");
        (
            Provider::OpenIm,
            instance.name.clone(),
            format!("at /openim{secret}/<command>"),
        )
    });
    for (provider, app, way) in tencent.chain(openim) {
        let now_ms = unix_ms();
        let head = Head {
            provider,
            app: app.clone(),
            command: Some("check".to_owned()),
            received_at_ms: now_ms,
            client_ip: None,
            platform: None,
            request_id: None,
            trace: None,
            unreadable: false,
        };
        let request = senders.request(&head, now_ms);
        match request.and_then(|request| request.verified(&providers, now_ms)) {
            Ok(found) if found == head => report.line("ok", "sender", format!("{app} passes {way}")),
            Ok(found) => report.line("FAIL", "sender", format!("{app} {way} is taken for {}", found.app)),
            Err(cause) => report.line("FAIL", "sender", format!("{app} {way}: {cause}")),
        }
    }
}
