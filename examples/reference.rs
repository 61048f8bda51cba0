//! The reference of `make bench`: actix-web reads a body and answers with the same bytes as the bridge. Nothing is stored. It
//! measures the cost of the HTTP server, so that the bridge's own cost is a ratio.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, web};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ANSWER: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

async fn answer(_body: web::Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(ANSWER)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".into());
    let app = || App::new().default_service(web::to(answer));
    HttpServer::new(app)
        .tcp_nodelay(true)
        .keep_alive(std::time::Duration::from_secs(3600))
        .bind(address)?
        .run()
        .await
}
