//! Cross-origin resource sharing: a bucket's CORS configuration, and what it says of a request.
//! The rules are those of AWS, "Elements of a CORS configuration" and "How does Amazon S3 evaluate
//! the CORS configuration on a bucket?".

use super::{Call, Code, S3Error, config};
use crate::http::{Method, Request, Response};
use crate::limits::{MAX_CORS_BYTES, MAX_CORS_ID_CHARS, MAX_CORS_REQUEST_HEADERS, MAX_CORS_RULES};
use crate::store::ConfigKind;
use crate::xml::{self, Element, Writer};

/// The root element of the document.
const ROOT: &str = "CORSConfiguration";
/// What the answers of a bucket with a configuration depend on.
const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
/// The methods that a rule may allow.
const METHODS: [Method; 5] = [Method::Get, Method::Put, Method::Head, Method::Post, Method::Delete];

/// A valid CORS configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cors {
    rules: Vec<Rule>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Rule {
    id: Option<String>,
    methods: Vec<Method>,
    origins: Vec<Pattern>,
    headers: Vec<Pattern>,
    expose: Vec<String>,
    max_age_seconds: Option<u32>,
}

/// Text with at most one `*`, which stands for any text, also none.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern(String);

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        (text.matches('*').count() <= 1).then(|| Self(text.to_owned()))
    }

    fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// `same`: whether two texts of one length are the same.
    fn matches(&self, text: &str, same: fn(&[u8], &[u8]) -> bool) -> bool {
        let text = text.as_bytes();
        let Some((start, end)) = self.0.split_once('*') else {
            return text.len() == self.0.len() && same(text, self.0.as_bytes());
        };
        text.len() >= start.len() + end.len()
            && same(&text[..start.len()], start.as_bytes())
            && same(&text[text.len() - end.len()..], end.as_bytes())
    }
}

// ---- document ----------------------------------------------------------------------------

impl Cors {
    /// Understands the document of PutBucketCors, or what [`Self::to_xml`] made of it.
    pub fn parse(document: &[u8]) -> Result<Self, S3Error> {
        if document.len() > MAX_CORS_BYTES {
            return Err(Code::MaxMessageLengthExceeded.into());
        }
        let root = xml::parse(document, ROOT).map_err(|_| S3Error::from(Code::MalformedXML))?;
        if root.children.is_empty() || root.children.iter().any(|c| c.name != "CORSRule") {
            return Err(Code::MalformedXML.into());
        }
        if root.children.len() > MAX_CORS_RULES {
            return Err(Code::InvalidRequest.with(format!(
                "The number of CORS rules should not exceed allowed limit of {MAX_CORS_RULES} \
                 rules."
            )));
        }
        Ok(Self { rules: root.children.iter().map(rule).collect::<Result<_, _>>()? })
    }

    /// The document, as GetBucketCors gives it.
    pub fn to_xml(&self) -> String {
        let mut xml = Writer::document();
        xml.root(ROOT);
        for rule in &self.rules {
            xml.open("CORSRule");
            rule.id.iter().for_each(|id| xml.text("ID", id));
            rule.headers.iter().for_each(|header| xml.text("AllowedHeader", &header.0));
            rule.methods.iter().for_each(|method| xml.text("AllowedMethod", method.as_str()));
            rule.origins.iter().for_each(|origin| xml.text("AllowedOrigin", &origin.0));
            rule.expose.iter().for_each(|header| xml.text("ExposeHeader", header));
            rule.max_age_seconds.iter().for_each(|age| xml.value("MaxAgeSeconds", age));
            xml.close("CORSRule");
        }
        xml.close(ROOT);
        xml.into_text()
    }
}

fn rule(element: &Element) -> Result<Rule, S3Error> {
    let mut rule = Rule {
        id: None,
        methods: Vec::new(),
        origins: Vec::new(),
        headers: Vec::new(),
        expose: Vec::new(),
        max_age_seconds: None,
    };
    for child in &element.children {
        let text = child.text.as_str();
        let unfit = text.is_empty() || text.contains(char::is_control);
        if !child.children.is_empty() || (unfit && child.name != "ID") {
            return Err(Code::MalformedXML.into());
        }
        match child.name.as_str() {
            "ID" if rule.id.is_none() => rule.id = Some(rule_id(text)?),
            "AllowedMethod" => rule.methods.push(method(text)?),
            "AllowedOrigin" => rule.origins.push(pattern("AllowedOrigin", text)?),
            "AllowedHeader" => rule.headers.push(pattern("AllowedHeader", text)?),
            "ExposeHeader" => rule.expose.push(exposed(text)?),
            "MaxAgeSeconds" if rule.max_age_seconds.is_none() => {
                let seconds = text.trim().parse().ok().filter(|age| *age <= i32::MAX as u32);
                rule.max_age_seconds = Some(seconds.ok_or(Code::MalformedXML)?);
            }
            _ => return Err(Code::MalformedXML.into()),
        }
    }
    if rule.methods.is_empty() || rule.origins.is_empty() {
        return Err(Code::MalformedXML.into());
    }
    Ok(rule)
}

fn rule_id(text: &str) -> Result<String, S3Error> {
    if text.chars().count() > MAX_CORS_ID_CHARS {
        let message = format!("ID length should not exceed allowed limit of {MAX_CORS_ID_CHARS}");
        return Err(S3Error::argument("ID", text, message));
    }
    Ok(text.to_owned())
}

fn method(text: &str) -> Result<Method, S3Error> {
    METHODS.into_iter().find(|method| method.as_str() == text).ok_or_else(|| {
        Code::InvalidRequest.with(format!(
            "Found unsupported HTTP method in CORS config. Unsupported method is {text}"
        ))
    })
}

fn pattern(element: &str, text: &str) -> Result<Pattern, S3Error> {
    Pattern::parse(text).ok_or_else(|| {
        let message = format!("{element} \"{text}\" can not have more than one wildcard.");
        Code::InvalidRequest.with(message)
    })
}

fn exposed(text: &str) -> Result<String, S3Error> {
    if text.contains('*') {
        return Err(Code::InvalidRequest.with(format!(
            "ExposeHeader \"{text}\" contains wildcard. We currently do not support wildcard for \
             ExposeHeader."
        )));
    }
    Ok(text.to_owned())
}

// ---- requests ----------------------------------------------------------------------------

/// What a rule allows a browser to do with an answer.
#[derive(Debug)]
struct Allowed<'a> {
    rule: &'a Rule,
    /// What the answer names as allowed: the origin that asked, or `*`.
    origin: &'a str,
}

impl Cors {
    /// The first rule that allows an origin this method and all of these request headers.
    fn allows<'a>(
        &'a self,
        origin: &'a str,
        method: &str,
        headers: &[&str],
    ) -> Option<Allowed<'a>> {
        let same_case: fn(&[u8], &[u8]) -> bool = |a, b| a == b;
        self.rules.iter().find_map(|rule| {
            let allowed = |header: &&str| {
                rule.headers.iter().any(|h| h.matches(header, <[u8]>::eq_ignore_ascii_case))
            };
            let from = rule.origins.iter().find(|o| o.matches(origin, same_case))?;
            let fits =
                rule.methods.iter().any(|m| m.as_str() == method) && headers.iter().all(allowed);
            let origin = if from.is_any() { "*" } else { origin };
            fits.then_some(Allowed { rule, origin })
        })
    }
}

impl Allowed<'_> {
    fn apply(&self, mut response: Response) -> Response {
        let methods: Vec<_> = self.rule.methods.iter().map(|m| m.as_str()).collect();
        response = response
            .header("access-control-allow-origin", self.origin)
            .header("access-control-allow-methods", methods.join(", "));
        if !self.rule.expose.is_empty() {
            let exposed = self.rule.expose.join(", ");
            response = response.header("access-control-expose-headers", exposed);
        }
        if let Some(seconds) = self.rule.max_age_seconds {
            response = response.header("access-control-max-age", seconds.to_string());
        }
        if self.origin != "*" {
            response = response.header("access-control-allow-credentials", "true");
        }
        response
    }
}

/// Adds what a bucket's configuration says to an answer, be it a success or an error. A preflight
/// has brought its own answer and only gets Vary. `stored`: what [`Cors::to_xml`] gave.
///
/// The method of a request that is none of a preflight is its own, or what its
/// Access-Control-Request-Method says.
pub fn decorate(response: Response, request: &Request, stored: &str) -> Response {
    let response = response.header("vary", VARY);
    let Some(origin) = request.headers.get("origin") else { return response };
    if request.method == Method::Options {
        return response;
    }
    let Ok(cors) = Cors::parse(stored.as_bytes()) else { return response };
    let asked = request.headers.get("access-control-request-method");
    let method = asked.unwrap_or(request.method.as_str());
    match cors.allows(origin, method, &[]) {
        Some(allowed) => allowed.apply(response),
        None => response,
    }
}

/// The answer to a preflight. `stored`: what [`Cors::to_xml`] gave for the bucket, if it has a
/// configuration. `resource`: `BUCKET` or `OBJECT`.
fn preflight(
    request: &Request,
    stored: Option<&str>,
    resource: &'static str,
) -> Result<Response, S3Error> {
    let field = |name| request.headers.get(name);
    let origin = field("origin").ok_or_else(|| {
        Code::BadRequest.with("Insufficient information. Origin request header needed.")
    })?;
    let method = field("access-control-request-method").unwrap_or("null");
    if METHODS.iter().all(|m| m.as_str() != method) {
        let message = format!("Invalid Access-Control-Request-Method: {method}");
        return Err(Code::BadRequest.with(message));
    }
    let forbidden = |message: &'static str| {
        Code::AccessForbidden
            .with(message)
            .element("Method", method)
            .element("ResourceType", resource)
    };
    let stored =
        stored.ok_or_else(|| forbidden("CORSResponse: CORS is not enabled for this bucket."))?;
    let headers: Vec<&str> = request
        .headers
        .all("access-control-request-headers")
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .take(MAX_CORS_REQUEST_HEADERS + 1)
        .collect();
    let cors = Cors::parse(stored.as_bytes()).ok();
    let allowed = cors
        .as_ref()
        .filter(|_| headers.len() <= MAX_CORS_REQUEST_HEADERS)
        .and_then(|cors| cors.allows(origin, method, &headers))
        .ok_or_else(|| {
            forbidden(
                "CORSResponse: This CORS request is not allowed. This is usually because the \
                 evalution of Origin, request method / Access-Control-Request-Method or \
                 Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
            )
        })?;
    let response = allowed.apply(Response::new(200));
    Ok(match headers.is_empty() {
        true => response,
        false => {
            let names = headers.join(", ").to_ascii_lowercase();
            response.header("access-control-allow-headers", names)
        }
    })
}

// ---- operations --------------------------------------------------------------------------

/// GetBucketCors
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    config::get(call, ConfigKind::Cors, Code::NoSuchCORSConfiguration)
}

/// PutBucketCors
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let cors = Cors::parse(&call.document()?)?;
    let bucket = call.bucket()?;
    call.app.store.set_config(bucket.id, ConfigKind::Cors, Some(cors.to_xml()))??;
    Ok(Response::new(200))
}

/// DeleteBucketCors
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    config::delete(call, ConfigKind::Cors)
}

/// OPTIONS on a bucket or an object: what a browser asks before it sends the request itself.
pub fn options(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.app.store.bucket(call.bucket_name()?)?;
    let stored = bucket.as_ref().and_then(|bucket| bucket.config(ConfigKind::Cors));
    let resource = if call.key().is_ok() { "OBJECT" } else { "BUCKET" };
    preflight(call.request, stored, resource).map_err(|error| match &bucket {
        None if error.code == Code::AccessForbidden => {
            S3Error { message: Some("CORSResponse: Bucket not found".into()), ..error }
        }
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    const ONE: &str = "<CORSRule><AllowedOrigin>https://a.example</AllowedOrigin>\
        <AllowedMethod>GET</AllowedMethod></CORSRule>";

    fn parse(rules: &str) -> Result<Cors, Code> {
        let document = format!("<CORSConfiguration>{rules}</CORSConfiguration>");
        Cors::parse(document.as_bytes()).map_err(|e| e.code)
    }

    /// A rule with these elements besides an origin and a method.
    fn with(elements: &str) -> Result<Cors, Code> {
        parse(&ONE.replace("</CORSRule>", &format!("{elements}</CORSRule>")))
    }

    #[test]
    fn a_document_comes_back_as_it_was() {
        let rules = "<CORSRule><ID>one &amp; only</ID><AllowedHeader>x-*</AllowedHeader>\
            <AllowedHeader>Content-Type</AllowedHeader><AllowedMethod>GET</AllowedMethod>\
            <AllowedMethod>DELETE</AllowedMethod><AllowedOrigin>*</AllowedOrigin>\
            <AllowedOrigin>https://*.example</AllowedOrigin><ExposeHeader>ETag</ExposeHeader>\
            <MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule>";
        let cors = parse(&format!("{rules}{ONE}")).unwrap();
        assert_eq!(cors.rules.len(), 2);
        let document = cors.to_xml();
        assert!(document.contains(rules), "{document}");
        assert_eq!(Cors::parse(document.as_bytes()).unwrap(), cors);
    }

    #[test]
    fn documents_that_are_refused() {
        assert_eq!(parse(""), Err(Code::MalformedXML));
        for bad in [
            "<CORSRule/>",
            "<Rule/>",
            "<CORSRule><AllowedOrigin>a</AllowedOrigin></CORSRule>",
            "<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>",
        ] {
            assert_eq!(parse(bad), Err(Code::MalformedXML), "{bad}");
        }
        for (bad, code) in [
            ("<MaxAgeSeconds>-1</MaxAgeSeconds>", Code::MalformedXML),
            ("<MaxAgeSeconds>2147483648</MaxAgeSeconds>", Code::MalformedXML),
            (
                "<MaxAgeSeconds>1</MaxAgeSeconds><MaxAgeSeconds>1</MaxAgeSeconds>",
                Code::MalformedXML,
            ),
            ("<Unknown>1</Unknown>", Code::MalformedXML),
            ("<AllowedOrigin/>", Code::MalformedXML),
            ("<ExposeHeader>a&#10;b</ExposeHeader>", Code::MalformedXML),
            ("<AllowedMethod>PATCH</AllowedMethod>", Code::InvalidRequest),
            ("<AllowedMethod>get</AllowedMethod>", Code::InvalidRequest),
            ("<AllowedMethod>OPTIONS</AllowedMethod>", Code::InvalidRequest),
            ("<AllowedOrigin>https://*.*.b</AllowedOrigin>", Code::InvalidRequest),
            ("<AllowedHeader>*a*</AllowedHeader>", Code::InvalidRequest),
            ("<ExposeHeader>x-*</ExposeHeader>", Code::InvalidRequest),
        ] {
            assert_eq!(with(bad), Err(code), "{bad}");
        }
        let id = |length: usize| format!("<ID>{}</ID>", "ü".repeat(length));
        assert!(with(&id(MAX_CORS_ID_CHARS)).is_ok());
        assert_eq!(with(&id(MAX_CORS_ID_CHARS + 1)), Err(Code::InvalidArgument));
        assert!(parse(&ONE.repeat(MAX_CORS_RULES)).is_ok());
        assert_eq!(parse(&ONE.repeat(MAX_CORS_RULES + 1)), Err(Code::InvalidRequest));
        let long = format!("<!--{}-->", " ".repeat(MAX_CORS_BYTES));
        assert_eq!(with(&long), Err(Code::MaxMessageLengthExceeded));
    }

    #[test]
    fn patterns() {
        let same: fn(&[u8], &[u8]) -> bool = |a, b| a == b;
        let matches =
            |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().matches(text, same);
        for text in ["startend", "start1end", "start*end"] {
            assert!(matches("start*end", text), "{text}");
        }
        for text in ["0startend", "startend0", "starend", "Startend", ""] {
            assert!(!matches("start*end", text), "{text}");
        }
        assert!(!matches("aba*aba", "aba") && matches("aba*aba", "abaaba"));
        assert!(matches("*", "") && matches("*", "ü") && matches("ü*", "üü") && !matches("", "a"));
        assert!(!matches("ü", "uu") && !matches("u*", "ü"));
    }

    fn request(method: Method, fields: &[(&str, &str)]) -> Request {
        Request {
            method,
            path: "/b/k".to_owned(),
            query: String::new(),
            headers: Headers::new(fields.iter().copied()),
            peer: [127, 0, 0, 1].into(),
            received: std::time::Instant::now(),
            id: String::new(),
        }
    }

    fn field<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
        let name = format!("access-control-{name}");
        response.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// Two rules: one for one site, one for everybody.
    fn two() -> String {
        let rules = "<CORSRule><AllowedOrigin>https://*.example</AllowedOrigin>\
            <AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>\
            <AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>Content-Type</AllowedHeader>\
            <ExposeHeader>ETag</ExposeHeader><ExposeHeader>x-amz-request-id</ExposeHeader>\
            <MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>\
            <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
            </CORSRule>";
        parse(rules).unwrap().to_xml()
    }

    #[test]
    fn answers_say_what_the_first_rule_that_fits_says() {
        let stored = two();
        let answer = |method, fields: &[(&str, &str)]| {
            decorate(Response::new(404), &request(method, fields), &stored)
        };
        let own = answer(Method::Put, &[("origin", "https://a.example")]);
        assert_eq!(field(&own, "allow-origin"), Some("https://a.example"));
        assert_eq!(field(&own, "allow-methods"), Some("GET, PUT"));
        assert_eq!(field(&own, "expose-headers"), Some("ETag, x-amz-request-id"));
        assert_eq!(field(&own, "max-age"), Some("60"));
        assert_eq!(field(&own, "allow-credentials"), Some("true"));
        let any = answer(Method::Get, &[("origin", "null")]);
        assert_eq!(field(&any, "allow-origin"), Some("*"));
        assert_eq!(field(&any, "allow-credentials"), None);
        assert_eq!(field(&any, "expose-headers"), None);
        let put = answer(Method::Put, &[("origin", "https://b")]);
        assert_eq!(field(&put, "allow-origin"), None);
        let as_get = [("origin", "https://b"), ("access-control-request-method", "GET")];
        assert_eq!(field(&answer(Method::Put, &as_get), "allow-origin"), Some("*"));
        let none = answer(Method::Get, &[]);
        assert_eq!(field(&none, "allow-origin"), None);
        for response in [own, any, put, none] {
            assert!(response.headers.iter().any(|(n, v)| n == "vary" && v == VARY));
        }
    }

    #[test]
    fn preflights() {
        let stored = two();
        let ask = |fields: &[(&str, &str)]| {
            let request = request(Method::Options, fields);
            preflight(&request, Some(&stored), "OBJECT").map_err(|e| e.code)
        };
        let origin = ("origin", "https://a.example");
        let method = ("access-control-request-method", "PUT");
        let headers = |names| ("access-control-request-headers", names);
        let given = ask(&[origin, method, headers("X-Amz-Date,content-type"), headers("x-amz-a")]);
        let given = given.unwrap();
        assert_eq!(field(&given, "allow-headers"), Some("x-amz-date, content-type, x-amz-a"));
        assert_eq!(field(&given, "allow-methods"), Some("GET, PUT"));
        assert_eq!(field(&ask(&[origin, method]).unwrap(), "allow-headers"), None);
        let code = |fields: &[(&str, &str)]| ask(fields).err();
        let other = headers("x-amz-date, authorization");
        assert_eq!(code(&[origin, method, other]), Some(Code::AccessForbidden));
        assert_eq!(code(&[("origin", "https://b"), method]), Some(Code::AccessForbidden));
        assert_eq!(code(&[method]), Some(Code::BadRequest));
        assert_eq!(code(&[origin]), Some(Code::BadRequest));
        assert_eq!(code(&[origin, (method.0, "PATCH")]), Some(Code::BadRequest));
        let many = "x-amz-a,".repeat(MAX_CORS_REQUEST_HEADERS);
        assert_eq!(code(&[origin, method, headers(&many)]), None);
        let more = format!("{many}x-amz-b");
        assert_eq!(code(&[origin, method, headers(&more)]), Some(Code::AccessForbidden));
        let request = request(Method::Options, &[origin, method]);
        let off = preflight(&request, None, "BUCKET").err().expect("it is off");
        assert_eq!(off.code, Code::AccessForbidden);
        assert!(off.extra.contains(&("ResourceType", "BUCKET".to_owned())));
    }
}
