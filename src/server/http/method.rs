//! The methods of HTTP.

/// The methods that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Options,
    /// A method of HTTP that nothing here allows.
    Unused,
    /// No method of HTTP.
    Unknown,
}

impl Method {
    /// The method of this name.
    pub fn of(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            "PUT" | "DELETE" | "PATCH" | "TRACE" | "CONNECT" => Method::Unused,
            _ => Method::Unknown,
        }
    }

    /// As it is written in `Allow`.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Options => "OPTIONS",
            Method::Unused | Method::Unknown => "",
        }
    }
}
