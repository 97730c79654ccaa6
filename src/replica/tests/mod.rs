//! Whole clusters in one thread: what must hold when servers and links come and go.

mod balance;
mod cluster;
mod damage;
mod deposed;
mod elections;
mod followers;
mod leads;
mod lists;
mod logins;
mod pages;
mod passages;
mod people;
mod rebuilding;
mod retention;
mod room;
mod servers;
mod sessions;
mod upgrade;
mod writes;

use serde_json::Value;

const JOIN: &str =
    r#"{"msg_type":"create_join","sender_id":"alice","request_id":"join","data":{"room":"lobby"}}"#;

fn chat(body: &str) -> String {
    format!(
        r#"{{"msg_type":"chat","sender_id":"alice","request_id":"{body}","data":{{"room":"lobby","body":"{body}","client_msg_id":"{body}"}}}}"#
    )
}

fn field<'a>(lines: &'a [Value], field: &str) -> Vec<&'a Value> {
    lines.iter().map(|line| &line["data"][field]).collect()
}
