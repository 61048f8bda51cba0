//! The second reference of `make bench`: a bridge that one writes in an afternoon. actix-web receives a callback, rdkafka
//! publishes its JSON unchanged, keyed by its group, and the answer waits for the delivery report. Nothing is written to
//! disk, verified, encoded or read back. If the process ends before Kafka has acknowledged an event, the event is lost,
//! because the IM server posts it only once.

use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ANSWER: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

struct Kafka {
    producer: FutureProducer,
    topic: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    group_id: &'a str,
}

async fn answer(body: Bytes, kafka: Data<Kafka>) -> HttpResponse {
    let Ok(Body { group_id }) = serde_json::from_slice(&body) else {
        return HttpResponse::BadRequest().finish();
    };
    let record = FutureRecord::to(&kafka.topic).key(group_id).payload(&body[..]);
    match kafka.producer.send(record, Duration::from_secs(5)).await {
        Ok(_) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "application/json"))
            .body(ANSWER),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// `by_hand ADDRESS BROKERS TOPIC`
#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, brokers, topic] = &arguments[..] else {
        return Err(std::io::Error::other("by_hand ADDRESS BROKERS TOPIC"));
    };
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true");
    config
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4");
    let kafka = Data::new(Kafka {
        producer: config.create().map_err(std::io::Error::other)?,
        topic: topic.clone(),
    });
    let app = move || App::new().app_data(kafka.clone()).default_service(web::to(answer));
    HttpServer::new(app)
        .tcp_nodelay(true)
        .keep_alive(Duration::from_secs(3600))
        .bind(address)?
        .run()
        .await
}
