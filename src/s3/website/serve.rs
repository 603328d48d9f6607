//! Serving websites: on a port of their own, or by host on the port of S3.
//!
//! On the port of websites a site is found, in this order, by
//! 1. a host below one of `JOG_WEBSITE_DOMAIN`: `bucket.domain`;
//! 2. a host that is the whole name of a bucket, as with a domain of one's own on AWS;
//! 3. the first segment of the path, unless a domain is set: sites that share a host share their
//!    cookies and scripts, too, so this is for trying out.
//!
//! GET and HEAD only, and only what everybody may read.

use super::route::{Answer, Base, Fact, decide};
use super::{Protocol, Website};
use crate::access::{Ask, Requester};
use crate::auth::{before_domain, host_of};
use crate::http::{Body, Handler, Headers, Method, Payload, Request, Response};
use crate::s3::permit::RequestFacts;
use crate::s3::uri::{self, Query};
use crate::s3::{App, Call, Code, Label, S3Error, object};
use crate::store::{Bucket, ConfigKind, Store};
use crate::types::{BucketName, ObjectKey};
use std::sync::Arc;

/// What serves the port of websites.
pub struct Websites(pub Arc<App>);

/// Where a request for a website goes.
struct Site<'a> {
    bucket: String,
    /// The path inside of the site, percent-encoded, with its first `/`.
    path: &'a str,
    /// See [`Base::mount`].
    mount: String,
}

impl Handler for Websites {
    fn handle(&self, request: &Request, _: &mut Body<'_>) -> Response {
        let app = &self.0;
        let host = host_of(request, app.auth.trust_forwarded);
        let site = app.website_host(request).or_else(|| whole_host(&app.store, host, request));
        match site {
            Some(site) => app.serve(request, &site),
            None if app.website_domains.is_empty() => app.serve(request, &by_path(request)),
            None => app.serve(request, &at_host(host.unwrap_or_default().to_owned(), request)),
        }
    }

    fn refuse(&self, status: u16, reason: &str) -> Response {
        let mut response = page(Code::InvalidRequest, reason, &[]);
        response.status = status;
        response
    }
}

fn at_host(bucket: String, request: &Request) -> Site<'_> {
    Site { bucket, path: &request.path, mount: String::new() }
}

/// The site of a host that is the name of a bucket.
fn whole_host<'r>(store: &Store, host: Option<&str>, request: &'r Request) -> Option<Site<'r>> {
    let name = BucketName::parse(&host?.to_ascii_lowercase())?;
    let bucket = store.bucket(&name).ok()??;
    bucket.config(ConfigKind::Website)?;
    Some(at_host(name.as_str().to_owned(), request))
}

/// The site of the first segment of the path.
fn by_path(request: &Request) -> Site<'_> {
    let path = request.path.strip_prefix('/').unwrap_or(&request.path);
    let end = path.find('/').unwrap_or(path.len());
    let (bucket, path) = path.split_at(end);
    Site { bucket: bucket.to_owned(), path, mount: format!("/{bucket}") }
}

impl App {
    /// The site that a request's host names by one of `JOG_WEBSITE_DOMAIN`.
    fn website_host<'r>(&self, request: &'r Request) -> Option<Site<'r>> {
        let host = host_of(request, self.auth.trust_forwarded)?;
        let bucket = before_domain(host, &self.website_domains)?;
        Some(at_host(bucket.to_ascii_lowercase(), request))
    }

    /// The answer of a website, if the request's host is one's: on the port of S3.
    pub(in crate::s3) fn website(&self, request: &Request) -> Option<Response> {
        if self.website_domains.is_empty() {
            return None;
        }
        let site = self.website_host(request)?;
        Some(self.serve(request, &site))
    }

    fn serve(&self, request: &Request, site: &Site<'_>) -> Response {
        let mut label = Label { operation: "Website", ..Label::default() };
        let query = Query::default();
        let facts = RequestFacts::new(request, &query, &self.auth);
        let may = |bucket: &BucketName, action: &str, key: Option<&ObjectKey>| {
            let ask = Ask { action, bucket: Some(bucket), key, version: None, facts: &facts };
            self.gate.authorize(&Requester::Anonymous, &ask).is_ok()
        };
        let result = self.try_serve(request, site, &mut label, &may);
        let (response, code) = match result {
            Ok((response, code)) => (response, code),
            Err(error) => {
                if let Some(source) = &error.source {
                    log::warn!("{} {}: {source}", request.id, error.code.name());
                }
                let message = error.message.as_deref().unwrap_or(error.code.message());
                let mut page = self.page(request, error.code, message, &error.extra);
                for (name, value) in error.headers {
                    page = page.header(name, value);
                }
                (page, Some(error.code))
            }
        };
        self.finish(request, label, response, code)
    }

    /// `may`: whether everybody may do this in the bucket.
    fn try_serve(
        &self,
        request: &Request,
        site: &Site<'_>,
        label: &mut Label,
        may: &dyn Fn(&BucketName, &str, Option<&ObjectKey>) -> bool,
    ) -> Result<(Response, Option<Code>), S3Error> {
        let named = |code: Code| S3Error::from(code).element("BucketName", &*site.bucket);
        let name = BucketName::parse(&site.bucket);
        let bucket = match &name {
            Some(name) => self.store.bucket(name)?,
            None => None,
        };
        let bucket = bucket.ok_or_else(|| named(Code::NoSuchBucket))?;
        (label.bucket, label.home) = (name, Some(Arc::clone(&bucket)));
        if !matches!(request.method, Method::Get | Method::Head) {
            let mut error = S3Error::from(Code::MethodNotAllowed);
            error.headers.push(("allow", "GET, HEAD".to_owned()));
            return Err(error.element("Method", request.method.as_str()));
        }
        let stored = bucket.config(ConfigKind::Website);
        let stored = stored.ok_or_else(|| named(Code::NoSuchWebsiteConfiguration))?;
        let website = Website::parse(stored.as_bytes())?;
        let protocol = request
            .headers
            .get("x-forwarded-proto")
            .filter(|_| self.auth.trust_forwarded)
            .and_then(Protocol::parse);
        let base = Base {
            protocol: protocol.unwrap_or(Protocol::Http),
            host: request.headers.get("host"),
            mount: &site.mount,
        };
        // Links in a page are relative to its folder, so the site's own has to end with a slash.
        let Some(path) = site.path.strip_prefix('/') else {
            return Ok((redirect(302, format!("{}/", site.mount)), None));
        };
        let key = uri::decode(path, false).ok_or(Code::InvalidURI)?;
        label.key = ObjectKey::parse(&*key).ok();
        let fact = |key: &ObjectKey| self.fact(&bucket, key, may);
        match decide(&website, &key, &request.query, fact)? {
            Answer::Redirect { status, to } => Ok((redirect(status, to.location(base)), None)),
            Answer::Object(key) => Ok((self.read(request, &bucket, &key)?, None)),
            Answer::Error { code, page } => {
                let page = page.and_then(|key| self.error_page(request, &bucket, &key, code));
                let extra = [("Key", key)];
                let own = || self.page(request, code, code.message(), &extra);
                Ok((page.unwrap_or_else(own), Some(code)))
            }
        }
    }

    fn fact(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        may: &dyn Fn(&BucketName, &str, Option<&ObjectKey>) -> bool,
    ) -> Result<Fact, S3Error> {
        if !may(&bucket.name, "s3:GetObject", Some(key)) {
            return Ok(Fact::Denied);
        }
        Ok(match self.store.object(bucket.id, key)? {
            Some(object) => {
                Fact::Found(object.meta.get("x-amz-website-redirect-location").map(str::to_owned))
            }
            None if may(&bucket.name, "s3:ListBucket", None) => Fact::Missing,
            None => Fact::Hidden,
        })
    }

    /// An object as GetObject or HeadObject gives it. The query of a website says nothing.
    fn read(
        &self,
        request: &Request,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Response, S3Error> {
        let mut call = Call {
            app: self,
            request,
            query: &Query::default(),
            requester: Requester::Anonymous,
            authorized: None,
            payload: None,
            read: None,
            signer: None,
            bucket: Some(&bucket.name),
            home: Some(bucket.id),
            key: Some(key),
            batch: Vec::new(),
            memory: None,
            stranger: None,
        };
        match request.method {
            Method::Head => object::head(&mut call),
            _ => object::get(&mut call),
        }
    }

    /// The error document; `None` if it cannot be read.
    fn error_page(
        &self,
        request: &Request,
        bucket: &Bucket,
        key: &ObjectKey,
        code: Code,
    ) -> Option<Response> {
        // Range and conditions are about what was asked for, not about this.
        let plain = Request { headers: Headers::default(), ..request.clone() };
        let mut response = self.read(&plain, bucket, key).ok()?;
        response.status = code.status();
        Some(with_code(response, code, code.message()))
    }

    fn page(
        &self,
        request: &Request,
        code: Code,
        message: &str,
        extra: &[(&'static str, String)],
    ) -> Response {
        let ids = [("RequestId", request.id.clone()), ("HostId", self.host_id.clone())];
        page(code, message, &[extra, &ids].concat())
    }
}

fn redirect(status: u16, location: String) -> Response {
    Response::new(status).header("location", location)
}

fn with_code(response: Response, code: Code, message: &str) -> Response {
    response.header("x-amz-error-code", code.name()).header("x-amz-error-message", message)
}

/// A page about an error, in the form of AWS.
fn page(code: Code, message: &str, extra: &[(&'static str, String)]) -> Response {
    let title = format!("{} {}", code.status(), reason(code.status()));
    let mut html = format!(
        "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n\
         <li>Code: {}</li>\n<li>Message: {}</li>\n",
        code.name(),
        escaped(message)
    );
    for (name, value) in extra {
        html.push_str(&format!("<li>{name}: {}</li>\n", escaped(value)));
    }
    html.push_str("</ul>\n<hr/>\n</body>\n</html>\n");
    let response = Response::new(code.status())
        .header("content-type", "text/html; charset=utf-8")
        .payload(Payload::Bytes(html.into_bytes()));
    with_code(response, code, message)
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        412 => "Precondition Failed",
        416 => "Requested Range Not Satisfiable",
        503 => "Slow Down",
        _ => "Error",
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Gate;
    use crate::access::users::{User, Users};
    use crate::auth::{AuthConfig, Keys, Throttle};
    use crate::store::{Extra, LogSpool, Meta, NewBucket, NewData, NewObject, Store, StoreConfig};
    use crate::types::{ETag, Precondition};
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    struct NoKeys;

    impl Keys for NoKeys {
        fn secret(&self, _: &str) -> Option<String> {
            None
        }
    }

    impl Users for NoKeys {
        fn by_key(&self, _: &str) -> Option<Arc<User>> {
            None
        }

        fn by_id(&self, _: &str) -> Option<Arc<User>> {
            None
        }

        fn by_name(&self, _: &str) -> Option<Arc<User>> {
            None
        }

        fn by_email(&self, _: &str) -> Option<Arc<User>> {
            None
        }

        fn is_root(&self, _: &str) -> bool {
            false
        }
    }

    /// An application with one bucket, `site`, of which everybody may read what does not begin
    /// with `secret`.
    struct Fixture {
        app: App,
        bucket: i64,
        dir: PathBuf,
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    fn open(_: &BucketName, action: &str, key: Option<&ObjectKey>) -> bool {
        action == "s3:GetObject" && key.is_some_and(|key| !key.as_str().starts_with("secret"))
    }

    fn open_with_list(bucket: &BucketName, action: &str, key: Option<&ObjectKey>) -> bool {
        action == "s3:ListBucket" || open(bucket, action, key)
    }

    impl Fixture {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("jog-{}-{name}", std::process::id()));
            let store = Arc::new(Store::open(StoreConfig::new(&dir)).unwrap());
            let new = NewBucket {
                name: BucketName::parse("site").unwrap(),
                owner: "me".to_owned(),
                region: String::new(),
                lock: false,
                configs: BTreeMap::new(),
            };
            store.create_bucket(new).unwrap();
            let bucket = store.bucket(&BucketName::parse("site").unwrap()).unwrap().unwrap().id;
            let app = App {
                gate: Gate::new(Arc::clone(&store), NoKeys),
                store,
                keys: Box::new(NoKeys),
                auth: AuthConfig::default(),
                throttle: Throttle::new(0),
                master: None,
                lifecycle_day_ms: 86_400_000,
                targets: Vec::new(),
                region: "us-east-1".to_owned(),
                website_domains: vec!["web.example".to_owned()],
                metrics: crate::s3::Metrics::new(Default::default()),
                logs: Arc::new(LogSpool::open(&dir, Duration::from_secs(60), false).unwrap()),
                host_id: "jog".to_owned(),
                rooms: crate::s3::Rooms::new(4),
            };
            let fixture = Self { app, bucket, dir };
            fixture.configure(
                "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>\
                 <ErrorDocument><Key>error.html</Key></ErrorDocument>",
            );
            for key in ["index.html", "error.html", "docs/index.html", "secret.html"] {
                fixture.put(key, None);
            }
            fixture
        }

        fn configure(&self, inside: &str) {
            let document = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
            let website = Website::parse(document.as_bytes()).unwrap().to_xml();
            let kind = ConfigKind::Website;
            self.app.store.set_config(self.bucket, kind, Some(website)).unwrap().unwrap();
        }

        /// An object whose bytes are its key.
        fn put(&self, key: &str, redirect: Option<&str>) {
            let name = BucketName::parse("site").unwrap();
            let mut writer = self.app.store.create_blob(&name, None).unwrap();
            writer.write(key.as_bytes()).unwrap();
            let mut meta = vec![("content-type".to_owned(), "text/html".to_owned())];
            let to =
                redirect.map(|to| ("x-amz-website-redirect-location".to_owned(), to.to_owned()));
            meta.extend(to);
            let new = NewObject {
                key: ObjectKey::parse(key).unwrap(),
                size: key.len() as u64,
                etag: ETag::from_md5(&[7; 16]),
                crc64: writer.crc64(),
                checksum: None,
                meta: Meta(meta),
                owner: "me".to_owned(),
                data: NewData::Blob(writer.finish().unwrap().unwrap()),
                extra: Extra::default(),
            };
            self.app.store.put_object(self.bucket, new, Precondition::default()).unwrap().unwrap();
        }

        fn ask(
            &self,
            method: Method,
            path: &str,
            fields: &[(&str, &str)],
            may: &dyn Fn(&BucketName, &str, Option<&ObjectKey>) -> bool,
        ) -> Result<(Response, Option<Code>), S3Error> {
            let request = request(method, path, fields);
            let site = at_host("site".to_owned(), &request);
            self.app.try_serve(&request, &site, &mut Label::default(), may)
        }

        fn get(&self, path: &str) -> Response {
            match self.ask(Method::Get, path, &[], &open) {
                Ok((response, _)) => response,
                Err(error) => panic!("{path}: {error:?}"),
            }
        }
    }

    fn request(method: Method, path: &str, fields: &[(&str, &str)]) -> Request {
        Request {
            method,
            path: path.to_owned(),
            query: "versionId=x&response-content-type=a".to_owned(),
            headers: Headers::new(fields.iter().copied()),
            peer: [127, 0, 0, 1].into(),
            received: Instant::now(),
            id: "ID".to_owned(),
        }
    }

    fn text(response: &Response) -> String {
        match &response.payload {
            Payload::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            _ => String::new(),
        }
    }

    fn field<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
        response.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn serves_what_everybody_may_read() {
        let site = Fixture::new("serves");
        for (path, key) in [
            ("/", "index.html"),
            ("/docs/", "docs/index.html"),
            ("/docs/index%2Ehtml", "docs/index.html"),
            ("/error.html", "error.html"),
        ] {
            let response = site.get(path);
            assert_eq!((response.status, text(&response)), (200, key.to_owned()), "{path}");
            assert_eq!(field(&response, "content-type"), Some("text/html"));
        }
        let folder = site.get("/docs");
        assert_eq!((folder.status, field(&folder, "location")), (302, Some("/docs/")));
        let head = site.ask(Method::Head, "/", &[], &open).ok().unwrap().0;
        assert_eq!((head.status, head.length()), (200, 10));
        let part = site.ask(Method::Get, "/", &[("range", "bytes=0-1")], &open).ok().unwrap().0;
        assert_eq!((part.status, text(&part)), (206, "in".to_owned()));
        site.put("moved", Some("/docs/"));
        let moved = site.get("/moved");
        assert_eq!((moved.status, field(&moved, "location")), (301, Some("/docs/")));
    }

    #[test]
    fn errors_have_the_error_document() {
        let site = Fixture::new("errors");
        let ranged = [("range", "bytes=0-1"), ("if-none-match", "*")];
        for (path, may, status, code) in [
            ("/none", &open as &dyn Fn(&_, &_, Option<&_>) -> bool, 403, "AccessDenied"),
            ("/none", &open_with_list, 404, "NoSuchKey"),
            ("/secret.html", &open_with_list, 403, "AccessDenied"),
        ] {
            let (response, logged) = site.ask(Method::Get, path, &ranged, may).ok().unwrap();
            assert_eq!((response.status, text(&response)), (status, "error.html".to_owned()));
            assert_eq!(field(&response, "x-amz-error-code"), Some(code));
            assert_eq!(logged.map(Code::name), Some(code));
        }
        site.configure("<IndexDocument><Suffix>index.html</Suffix></IndexDocument>");
        let bare = site.get("/a<b");
        assert_eq!(bare.status, 403);
        assert!(text(&bare).contains("<li>Code: AccessDenied</li>"), "{}", text(&bare));
        assert!(text(&bare).contains("<li>Key: a&lt;b</li>\n<li>RequestId: ID</li>"));
    }

    #[test]
    fn nothing_is_served_that_not_everybody_may_read() {
        let site = Fixture::new("closed");
        let closed = |_: &BucketName, _: &str, _: Option<&ObjectKey>| false;
        for path in ["/", "/index.html", "/none", "/docs", "/error.html"] {
            let (response, _) = site.ask(Method::Get, path, &[], &closed).ok().unwrap();
            assert_eq!(response.status, 403, "{path}");
            assert!(text(&response).starts_with("<html>"), "{path}: {}", text(&response));
        }
    }

    #[test]
    fn other_methods_and_other_buckets() {
        let site = Fixture::new("methods");
        for method in [Method::Put, Method::Post, Method::Delete, Method::Options] {
            let error = site.ask(method, "/", &[], &open).err().unwrap();
            assert_eq!(error.code, Code::MethodNotAllowed);
        }
        let kind = ConfigKind::Website;
        site.app.store.set_config(site.bucket, kind, None).unwrap().unwrap();
        let error = site.ask(Method::Get, "/", &[], &open).err().unwrap();
        assert_eq!(error.code, Code::NoSuchWebsiteConfiguration);
    }
}
