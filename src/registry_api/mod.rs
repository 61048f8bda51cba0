//! What a schema registry says, said by the bridge itself: Confluent's API over its own schemas, to read only, so that stock
//! deserializers need nothing beside it. On a thread of its own; it knows neither Kafka nor the spool, and keeps nothing.
//!
//! | path | what |
//! |---|---|
//! | `GET /subjects` | the subjects: `<topic>-value` for each command |
//! | `GET /subjects/{s}/versions`, `.../{v}`, `.../latest`, `.../{v}/schema` | its versions |
//! | `POST /subjects/{s}` | which version of it a schema is |
//! | `GET /schemas`, `/schemas/types`, `/schemas/ids/{id}`, `.../schema`, `.../subjects`, `.../versions` | schemas by id |
//! | `GET /config`, `/config/{s}`, `/mode`, `/mode/{s}`, `/contexts` | what holds for all of them |
//!
//! Whatever would write is refused with 405: the schemas folder is where versions are added.

mod answer;
mod subjects;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use arc_swap::ArcSwap;

pub use subjects::Subjects;

use crate::lifecycle::Stop;
use answer::{Asked, answer};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Readers ask once for each schema, and keep their connections for a while.
const CONNECTIONS_MAX: usize = 256;

/// Serves on a thread of its own until `stop` is raised; gives the address it got. Another set of subjects may take their place
/// at any time.
///
/// # Errors
/// When the address is not to be had.
pub fn start(listen: &str, subjects: Arc<ArcSwap<Subjects>>, stop: Stop) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    let app = move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&subjects)))
            .default_service(web::to(serve))
    };
    let run = move || {
        actix_web::rt::System::new().block_on(async {
            let server = HttpServer::new(app)
                .workers(1)
                .max_connections(CONNECTIONS_MAX)
                .disable_signals()
                .listen(listener)?
                .run();
            let handle = server.handle();
            actix_web::rt::spawn(async move {
                stop.raised().await;
                handle.stop(false).await;
            });
            server.await
        })
    };
    std::thread::Builder::new().name("registry-api".into()).spawn(run)?;
    Ok(address)
}

async fn serve(
    request: HttpRequest,
    query: web::Query<HashMap<String, String>>,
    body: web::Bytes,
    subjects: web::Data<ArcSwap<Subjects>>,
) -> HttpResponse {
    let asked = Asked {
        method: request.method().as_str(),
        path: request.path(),
        subject_prefix: query.get("subjectPrefix").map_or("", String::as_str),
        body: &body,
    };
    let (status, text) = match answer(&subjects.load(), &asked) {
        Ok(text) => (StatusCode::OK, text),
        Err(refusal) => (
            StatusCode::from_u16(refusal.status()).expect("a status that is listed"),
            refusal.to_string(),
        ),
    };
    HttpResponse::build(status).content_type(CONTENT_TYPE).body(text)
}
