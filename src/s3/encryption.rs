//! What requests say of encryption at rest: x-amz-server-side-encryption and its kin. What buckets
//! say of it is in [`super::bucket_encryption`].
//!
//! JOG has SSE-S3 (with the master key of the settings) and SSE-C (with a key that comes with each
//! request). SSE-KMS and DSSE-KMS are refused once they are known to be asked for correctly.

use super::bucket_encryption::BucketEncryption;
use super::{Call, Code, S3Error};
use crate::http::{Headers, Response};
use crate::store::{Bucket, KEY_BYTES, Kek, Part, Seal, SealMode, Sealing, StoreError, Upload};
use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use std::fmt;
use zeroize::Zeroizing;

/// The header that names the method; also the name under which AWS reports wrong arguments.
const METHOD: &str = "x-amz-server-side-encryption";
/// What the headers of a customer's key start with.
const CUSTOMER: &str = "x-amz-server-side-encryption-customer-";
/// The same for the key of the source of a copy.
const SOURCE_CUSTOMER: &str = "x-amz-copy-source-server-side-encryption-customer-";
/// Headers that only SSE-KMS has.
const KMS_ONLY: [&str; 2] =
    ["x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-context"];
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
/// The only algorithm that AWS and JOG have.
pub(super) const AES256: &str = "AES256";

fn bad_argument(value: &str, message: &'static str) -> S3Error {
    S3Error::argument(METHOD, value, message)
}

/// The refusal of SSE-KMS.
pub(super) fn kms() -> S3Error {
    Code::NotImplemented.with(
        "Server-side encryption with AWS KMS keys is not implemented; AES256 (SSE-S3) and \
         customer-provided keys (SSE-C) are.",
    )
}

/// The key of encrypted bytes: the server's or the customer's.
#[derive(Clone)]
pub struct Key {
    sealing: Sealing,
    /// The customer's key: its MD5 in base64, as the client gave it.
    md5: Option<String>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.sealing.mode)
    }
}

impl Key {
    /// The server's key. `master`: that of the settings; without one SSE-S3 is refused.
    pub fn server(master: Option<&Kek>) -> Result<Self, S3Error> {
        let kek = master.cloned().ok_or_else(|| {
            Code::NotImplemented.with(
                "This server has no master key, so it cannot encrypt with AES256 (SSE-S3); its \
                 operator may set JOG_SSE_KEY or JOG_SSE_KEY_FILE.",
            )
        })?;
        Ok(Self { sealing: Sealing { mode: SealMode::Server, kek }, md5: None })
    }

    /// The customer's key of a request, if it has one.
    pub fn customer(headers: &Headers) -> Result<Option<Self>, S3Error> {
        Self::parse(headers, CUSTOMER)
    }

    /// The customer's key of the source of a copy, if the request has one.
    pub fn source_customer(headers: &Headers) -> Result<Option<Self>, S3Error> {
        Self::parse(headers, SOURCE_CUSTOMER)
    }

    fn parse(headers: &Headers, prefix: &str) -> Result<Option<Self>, S3Error> {
        let field = |name: &str| headers.get(&format!("{prefix}{name}"));
        let (algorithm, key, md5) = (field("algorithm"), field("key"), field("key-md5"));
        let Some(algorithm) = algorithm else {
            return match (key, md5) {
                (None, None) => Ok(None),
                _ => Err(bad_argument(
                    "null",
                    "Requests specifying Server Side Encryption with Customer provided keys must \
                     provide a valid encryption algorithm.",
                )),
            };
        };
        if algorithm != AES256 {
            return Err(S3Error::from(Code::InvalidEncryptionAlgorithmError)
                .element("ArgumentName", METHOD)
                .element("ArgumentValue", algorithm));
        }
        let key = key.ok_or_else(|| {
            bad_argument(
                "null",
                "Requests specifying Server Side Encryption with Customer provided keys must \
                 provide an appropriate secret key.",
            )
        })?;
        let md5 = md5.ok_or_else(|| {
            bad_argument(
                "null",
                "Requests specifying Server Side Encryption with Customer provided keys must \
                 provide the client calculated MD5 of the secret key.",
            )
        })?;
        let invalid =
            || bad_argument("null", "The secret key was invalid for the specified algorithm.");
        let bytes =
            BASE64_STANDARD.decode(key.trim()).map(Zeroizing::new).map_err(|_| invalid())?;
        let bytes: &[u8; KEY_BYTES] = (&bytes[..]).try_into().map_err(|_| invalid())?;
        let known = BASE64_STANDARD.decode(md5.trim()).unwrap_or_default();
        if known[..] != Md5::digest(bytes)[..] {
            return Err(bad_argument(
                "null",
                "The calculated MD5 hash of the key did not match the hash that was provided.",
            ));
        }
        let sealing = Sealing { mode: SealMode::Customer, kek: Kek::new(*bytes) };
        Ok(Some(Self { sealing, md5: Some(BASE64_STANDARD.encode(known)) }))
    }

    /// What seals the data keys of new files.
    pub fn sealing(key: Option<&Self>) -> Option<&Sealing> {
        key.map(|key| &key.sealing)
    }

    /// The key itself, for reading.
    pub fn kek(key: Option<&Self>) -> Option<&Kek> {
        key.map(|key| &key.sealing.kek)
    }

    /// The seal of an object or an upload without a file of its own.
    pub fn empty_seal(key: Option<&Self>) -> Result<Option<Seal>, StoreError> {
        key.map(|key| key.sealing.empty()).transpose()
    }

    /// Adds the headers that tell of encryption to an answer.
    pub fn describe(key: Option<&Self>, response: Response) -> Response {
        match key {
            None => response,
            Some(Self { md5: None, .. }) => response.header(METHOD, AES256),
            Some(Self { md5: Some(md5), .. }) => response
                .header("x-amz-server-side-encryption-customer-algorithm", AES256)
                .header("x-amz-server-side-encryption-customer-key-MD5", md5.clone()),
        }
    }
}

/// What a request that makes an object asks for.
#[derive(Debug)]
pub enum Wanted {
    /// Nothing: what the bucket has as its default.
    Default,
    /// SSE-S3.
    Server,
    /// SSE-C with this key.
    Customer(Key),
}

impl Wanted {
    /// Reads the headers of PutObject, CopyObject or CreateMultipartUpload, or the fields of a form.
    pub fn from_headers(headers: &Headers) -> Result<Self, S3Error> {
        let method = headers.get(METHOD);
        if let (Some(method), true) = (method, headers.iter().any(|(n, _)| n.starts_with(CUSTOMER)))
        {
            return Err(bad_argument(
                method,
                "Server Side Encryption with Customer provided key is incompatible with the \
                 encryption method specified",
            ));
        }
        if let Some(key) = Key::customer(headers)? {
            refuse_kms_headers(headers)?;
            return Ok(Self::Customer(key));
        }
        match method {
            Some("aws:kms" | "aws:kms:dsse") => Err(kms()),
            Some(AES256) => {
                refuse_kms_headers(headers)?;
                Ok(Self::Server)
            }
            Some(other) => {
                Err(bad_argument(other, "The encryption method specified is not supported"))
            }
            None => {
                refuse_kms_headers(headers)?;
                Ok(Self::Default)
            }
        }
    }

    /// The key that a new object of a bucket gets; none: it is not encrypted.
    pub fn resolve(
        self,
        bucket: &BucketEncryption,
        master: Option<&Kek>,
    ) -> Result<Option<Key>, S3Error> {
        match self {
            Self::Customer(_) if bucket.blocks_customer => Err(Code::AccessDenied.with(
                "The bucket's encryption configuration blocks server-side encryption with \
                 customer-provided keys.",
            )),
            Self::Customer(key) => Ok(Some(key)),
            Self::Server => Key::server(master).map(Some),
            Self::Default if bucket.server => Key::server(master).map(Some),
            Self::Default => Ok(None),
        }
    }
}

/// The key that a new object of a bucket gets; none: it is not encrypted. `headers`: those of the
/// request, or the fields of a form.
pub fn of_write(
    call: &Call<'_, '_>,
    bucket: &Bucket,
    headers: &Headers,
) -> Result<Option<Key>, S3Error> {
    let configured = BucketEncryption::of(bucket)?;
    Wanted::from_headers(headers)?.resolve(&configured, call.app.master.as_ref())
}

/// The key for reading an object.
pub fn of_read(call: &Call<'_, '_>, seal: Option<&Seal>) -> Result<Option<Key>, S3Error> {
    refuse_method(call.headers())?;
    opening(seal, Key::customer(call.headers())?, call.app.master.as_ref())
}

/// The key for reading the source of a copy.
pub fn of_source(call: &Call<'_, '_>, seal: Option<&Seal>) -> Result<Option<Key>, S3Error> {
    opening(seal, Key::source_customer(call.headers())?, call.app.master.as_ref())
}

/// The key for a part of an upload.
pub fn of_part(call: &Call<'_, '_>, seal: Option<&Seal>) -> Result<Option<Key>, S3Error> {
    refuse_other_method(call.headers(), seal)?;
    continuing(seal, Key::customer(call.headers())?, call.app.master.as_ref())
}

/// The key for completing an upload. A customer need not send it again, unless the upload or one of
/// its parts has a checksum (AWS, CompleteMultipartUpload: "required only when the object was
/// created using a checksum algorithm").
pub fn of_complete(
    call: &Call<'_, '_>,
    upload: &Upload,
    parts: &[Part],
) -> Result<Option<Key>, S3Error> {
    let seal = upload.extra.seal.as_ref();
    refuse_other_method(call.headers(), seal)?;
    let customer = Key::customer(call.headers())?;
    let checked = upload.checksum.is_some() || parts.iter().any(|p| p.checksum.is_some());
    let needs_none = seal.is_some_and(|s| s.mode == SealMode::Customer) && !checked;
    if customer.is_none() && needs_none {
        return Ok(None);
    }
    continuing(seal, customer, call.app.master.as_ref())
}

/// Headers of SSE-KMS without SSE-KMS. A bucket key that is not wanted is what everybody gets.
fn refuse_kms_headers(headers: &Headers) -> Result<(), S3Error> {
    let bucket_key = headers.get(BUCKET_KEY);
    if let Some(other) = bucket_key.filter(|v| !matches!(*v, "true" | "false")) {
        return Err(S3Error::argument(BUCKET_KEY, other, "The value must be true or false."));
    }
    if KMS_ONLY.iter().any(|name| headers.get(name).is_some()) || bucket_key == Some("true") {
        return Err(bad_argument(
            headers.get(METHOD).unwrap_or("null"),
            "Server Side Encryption with AWS KMS managed key requires HTTP header \
             x-amz-server-side-encryption : aws:kms",
        ));
    }
    Ok(())
}

/// Refuses the choice of a method where there is none: in reads, and in requests on an upload, whose
/// method was chosen when it was created.
pub fn refuse_method(headers: &Headers) -> Result<(), S3Error> {
    let chosen = [METHOD, BUCKET_KEY].into_iter().chain(KMS_ONLY);
    match chosen.filter_map(|name| Some((name, headers.get(name)?))).next() {
        None => Ok(()),
        Some((name, value)) => Err(S3Error::argument(
            name,
            value,
            format!("{name} header is not supported for this operation."),
        )),
    }
}

/// The method of an upload was chosen when it was created. To name it again is idle, yet minio-go
/// does; to name another is refused, as AWS refuses any.
fn refuse_other_method(headers: &Headers, seal: Option<&Seal>) -> Result<(), S3Error> {
    let repeats = headers.get(METHOD) == Some(AES256)
        && seal.is_some_and(|seal| seal.mode == SealMode::Server)
        && KMS_ONLY.iter().chain([&BUCKET_KEY]).all(|name| headers.get(name).is_none());
    if repeats { Ok(()) } else { refuse_method(headers) }
}

/// The key for reading bytes with this seal. `customer`: the key that the request brings.
/// InvalidRequest if it is missing, wrong or too much; nothing is read before this is known.
pub fn opening(
    seal: Option<&Seal>,
    customer: Option<Key>,
    master: Option<&Kek>,
) -> Result<Option<Key>, S3Error> {
    let needed = "The object was stored using a form of Server Side Encryption. The correct \
                  parameters must be provided to retrieve the object.";
    match (seal, customer) {
        (None, None) => Ok(None),
        (Some(seal), customer) if seal.mode == SealMode::Customer => {
            check(seal, customer, needed).map(Some)
        }
        (_, Some(_)) => Err(Code::InvalidRequest
            .with("The encryption parameters are not applicable to this object.")),
        (Some(seal), None) => match master.filter(|kek| seal.opens_with(kek)) {
            Some(kek) => Key::server(Some(kek)).map(Some),
            None => Err(no_master()),
        },
    }
}

/// The key for a request on an upload with this seal: a customer's key must come again each time.
pub fn continuing(
    seal: Option<&Seal>,
    customer: Option<Key>,
    master: Option<&Kek>,
) -> Result<Option<Key>, S3Error> {
    let needed = "The multipart upload initiate requested encryption. Subsequent part requests \
                  must include the appropriate encryption parameters.";
    match (seal, customer) {
        (None, None) => Ok(None),
        (Some(seal), customer) if seal.mode == SealMode::Customer => {
            check(seal, customer, needed).map(Some)
        }
        (_, Some(_)) => Err(Code::InvalidRequest.with(
            "The multipart upload was not initiated with customer-provided encryption keys.",
        )),
        (Some(seal), None) => match master.filter(|kek| seal.opens_with(kek)) {
            Some(kek) => Key::server(Some(kek)).map(Some),
            None => Err(no_master()),
        },
    }
}

/// The customer's key, if it is there and opens the seal. A wrong key is InvalidRequest, as Ceph's
/// s3-tests have it; AWS has answered AccessDenied.
fn check(seal: &Seal, customer: Option<Key>, needed: &'static str) -> Result<Key, S3Error> {
    let key = customer.ok_or_else(|| Code::InvalidRequest.with(needed))?;
    if !seal.opens_with(&key.sealing.kek) {
        return Err(Code::InvalidRequest
            .with("The provided encryption parameters did not match the ones used originally."));
    }
    Ok(key)
}

/// Something is encrypted with a master key that the settings do not have.
fn no_master() -> S3Error {
    S3Error {
        source: Some("JOG_SSE_KEY is not the master key that the object was written with".into()),
        ..Code::InternalError
            .with("The object is encrypted with a master key that this server does not have.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
    const KEY_MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

    fn headers(fields: &[(&str, &str)]) -> Headers {
        Headers::new(fields.iter().copied())
    }

    fn customer<'a>(
        algorithm: &'a str,
        key: &'a str,
        md5: &'a str,
    ) -> Vec<(&'static str, &'a str)> {
        let names = ["algorithm", "key", "key-md5"].map(|n| match n {
            "algorithm" => "x-amz-server-side-encryption-customer-algorithm",
            "key" => "x-amz-server-side-encryption-customer-key",
            _ => "x-amz-server-side-encryption-customer-key-md5",
        });
        let fields = names.into_iter().zip([algorithm, key, md5]);
        fields.filter(|(_, value)| !value.is_empty()).collect()
    }

    fn code(fields: &[(&str, &str)]) -> Code {
        Wanted::from_headers(&headers(fields)).unwrap_err().code
    }

    #[test]
    fn what_requests_ask_for() {
        let wanted = |fields: &[(&str, &str)]| Wanted::from_headers(&headers(fields)).unwrap();
        assert!(matches!(wanted(&[]), Wanted::Default));
        assert!(matches!(wanted(&[(METHOD, "AES256")]), Wanted::Server));
        assert!(matches!(wanted(&[(METHOD, "AES256"), (BUCKET_KEY, "false")]), Wanted::Server));
        let Wanted::Customer(key) = wanted(&customer("AES256", KEY, KEY_MD5)) else { panic!() };
        assert_eq!(key.md5.as_deref(), Some(KEY_MD5));
        let kek = Kek::new(BASE64_STANDARD.decode(KEY).unwrap().try_into().unwrap());
        assert!(key.sealing.empty().unwrap().opens_with(&kek));
    }

    #[test]
    fn the_keys_of_customers_are_checked() {
        use Code::{InvalidArgument, InvalidEncryptionAlgorithmError};
        let short = "AAECAwQFBgcICQoLDA0ODw==";
        let short_md5 = BASE64_STANDARD.encode(Md5::digest(BASE64_STANDARD.decode(short).unwrap()));
        for (fields, expected) in [
            (customer("", KEY, KEY_MD5), InvalidArgument),
            (customer("", "", KEY_MD5), InvalidArgument),
            (customer("AES256", "", KEY_MD5), InvalidArgument),
            (customer("AES256", "", ""), InvalidArgument),
            (customer("AES256", KEY, ""), InvalidArgument),
            (customer("AES256", KEY, "AAAAAAAAAAAAAAAAAAAAAA=="), InvalidArgument),
            (customer("AES256", KEY, "x"), InvalidArgument),
            (customer("AES256", "x", KEY_MD5), InvalidArgument),
            (customer("AES256", short, &short_md5), InvalidArgument),
            (customer("AES192", KEY, KEY_MD5), InvalidEncryptionAlgorithmError),
        ] {
            assert_eq!(code(&fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn methods_that_contradict_each_other() {
        let with = |method, key| [vec![(METHOD, method)], key].concat();
        let key = || customer("AES256", KEY, KEY_MD5);
        let id = (KMS_ONLY[0], "some-key");
        assert_eq!(code(&with("AES256", key())), Code::InvalidArgument);
        assert_eq!(code(&with("aws:kms", key())), Code::InvalidArgument);
        assert_eq!(code(&[(METHOD, "AES256"), id]), Code::InvalidArgument);
        assert_eq!(code(&[id]), Code::InvalidArgument);
        assert_eq!(code(&[key(), vec![id]].concat()), Code::InvalidArgument);
        assert_eq!(code(&[(METHOD, "aes:kms")]), Code::InvalidArgument);
        assert_eq!(code(&[(METHOD, "AES256"), (BUCKET_KEY, "true")]), Code::InvalidArgument);
        assert_eq!(code(&[(BUCKET_KEY, "maybe")]), Code::InvalidArgument);
        assert_eq!(code(&[(METHOD, "aws:kms"), id]), Code::NotImplemented);
        assert_eq!(code(&[(METHOD, "aws:kms:dsse")]), Code::NotImplemented);
    }

    #[test]
    fn no_method_is_chosen_in_a_read() {
        assert!(refuse_method(&headers(&customer("AES256", KEY, KEY_MD5))).is_ok());
        for name in [METHOD, BUCKET_KEY, KMS_ONLY[0], KMS_ONLY[1]] {
            let error = refuse_method(&headers(&[(name, "AES256")])).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument);
        }
    }

    #[test]
    fn which_key_opens_what() {
        let key = |byte: u8| {
            let sealing = Sealing { mode: SealMode::Customer, kek: Kek::new([byte; KEY_BYTES]) };
            Key { sealing, md5: Some(String::new()) }
        };
        let (master, other) = (Kek::new([8; KEY_BYTES]), Kek::new([9; KEY_BYTES]));
        let server = Key::server(Some(&master)).unwrap().sealing.empty().unwrap();
        let mine = key(1).sealing.empty().unwrap();
        for open in [opening, continuing] {
            let code = |seal, key, master| {
                open(seal, key, master).map(|k| k.map(|k| k.sealing.mode)).map_err(|e| e.code)
            };
            assert_eq!(code(None, None, Some(&master)), Ok(None));
            assert_eq!(code(Some(&server), None, Some(&master)), Ok(Some(SealMode::Server)));
            assert_eq!(code(Some(&mine), Some(key(1)), None), Ok(Some(SealMode::Customer)));
            for (seal, key, master, expected) in [
                (None, Some(key(1)), Some(&master), Code::InvalidRequest),
                (Some(&server), Some(key(1)), Some(&master), Code::InvalidRequest),
                (Some(&mine), None, Some(&master), Code::InvalidRequest),
                (Some(&mine), Some(key(2)), Some(&master), Code::InvalidRequest),
                (Some(&server), None, None, Code::InternalError),
                (Some(&server), None, Some(&other), Code::InternalError),
            ] {
                assert_eq!(code(seal, key, master), Err(expected));
            }
        }
    }

    #[test]
    fn what_a_new_object_gets() {
        let master = Kek::new([8; KEY_BYTES]);
        let plain = BucketEncryption::default();
        let (mut bucket, mut blocking) = (plain, plain);
        bucket.server = true;
        blocking.blocks_customer = true;
        let customer =
            || Wanted::from_headers(&headers(&customer("AES256", KEY, KEY_MD5))).unwrap();
        let got = |wanted: Wanted, bucket, master| {
            wanted.resolve(bucket, master).map(|k| k.map(|k| k.sealing.mode)).map_err(|e| e.code)
        };
        let (server, mine) = (Ok(Some(SealMode::Server)), Ok(Some(SealMode::Customer)));
        assert_eq!(got(Wanted::Default, &plain, Some(&master)), Ok(None));
        assert_eq!(got(Wanted::Default, &bucket, Some(&master)), server);
        assert_eq!(got(Wanted::Server, &plain, Some(&master)), server);
        assert_eq!(got(customer(), &bucket, Some(&master)), mine);
        assert_eq!(got(customer(), &plain, None), mine);
        assert_eq!(got(Wanted::Default, &bucket, None), Err(Code::NotImplemented));
        assert_eq!(got(Wanted::Server, &plain, None), Err(Code::NotImplemented));
        assert_eq!(got(customer(), &blocking, Some(&master)), Err(Code::AccessDenied));
    }

    #[test]
    fn keys_are_not_printed() {
        let key = Wanted::from_headers(&headers(&customer("AES256", KEY, KEY_MD5))).unwrap();
        assert_eq!(format!("{key:?}"), "Customer(Key(Customer))");
    }
}
