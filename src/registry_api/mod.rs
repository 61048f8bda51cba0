//! The bridge as a schema registry: Confluent's API over its own schemas, read-only. Stock deserializers therefore need no other
//! registry. It does not know Kafka and the spool, and stores nothing.
//!
//! | path | what |
//! |---|---|
//! | `GET /subjects` | the subjects: `<topic>-value` for each command |
//! | `GET /subjects/{s}/versions`, `.../{v}`, `.../latest`, `.../{v}/schema` | a subject's versions |
//! | `POST /subjects/{s}` | the version of the subject that has the posted schema |
//! | `GET /schemas`, `/schemas/types`, `/schemas/ids/{id}`, `.../schema`, `.../subjects`, `.../versions` | schemas by id |
//! | `GET /config`, `/config/{s}`, `/mode`, `/mode/{s}`, `/contexts` | the settings, the same for all subjects |
//!
//! Every request that would write gets 405, because versions are added in the schemas folder.

mod answer;
mod subjects;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;

pub use subjects::Subjects;

use crate::lifecycle::Stop;
use crate::private_port;
use answer::{ApiRequest, answer};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Serves on a thread of its own until `stop` is raised, and returns the bound address. The subjects may be replaced at any time.
///
/// # Errors
/// If the address cannot be bound.
pub fn start(listen: &str, subjects: Arc<ArcSwap<Subjects>>, stop: Stop) -> io::Result<SocketAddr> {
    let routes = move |service: &mut ServiceConfig| {
        service
            .app_data(web::Data::from(Arc::clone(&subjects)))
            .default_service(web::to(serve));
    };
    private_port::serve("registry-api", listen, routes, async move { stop.raised().await })
}

async fn serve(
    request: HttpRequest,
    parameters: web::Query<HashMap<String, String>>,
    body: web::Bytes,
    subjects: web::Data<ArcSwap<Subjects>>,
) -> HttpResponse {
    let asked = ApiRequest {
        method: request.method().as_str(),
        path: request.path(),
        subject_prefix: parameters.get("subjectPrefix").map_or("", String::as_str),
        body: &body,
    };
    let (status, text) = match answer(&subjects.load(), &asked) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (
            StatusCode::from_u16(error.status()).expect("errors have valid statuses"),
            error.to_string(),
        ),
    };
    HttpResponse::build(status).content_type(CONTENT_TYPE).body(text)
}
