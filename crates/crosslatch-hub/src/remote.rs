//! The hub over HTTP: what a repository holds, and the bytes of its files.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error};

use crate::cache::{is_checksum, is_commit};
use crate::error::HubError;
use crate::names::Name;

/// How long the hub may take to be connected with, and to go on.
const CONNECT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(30);

/// The longest list of files that is read.
const LONGEST_LIST: u64 = 16 << 20;

/// A hub.
pub struct Remote {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// What a repository holds at a commit.
#[derive(Debug)]
pub struct Listing {
    /// The commit.
    pub commit: String,
    /// The files by name.
    pub files: BTreeMap<String, Entry>,
}

/// A file of a repository.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its length in bytes.
    pub size: u64,
    /// The checksum that it is known by.
    pub checksum: Checksum,
}

/// How the hub knows contents.
#[derive(Clone, Debug)]
pub enum Checksum {
    /// Large files: of their bytes.
    Sha256(String),
    /// Others: as git does.
    Git(String),
}

impl Checksum {
    /// The digits.
    pub fn digits(&self) -> &str {
        match self {
            Checksum::Sha256(digits) | Checksum::Git(digits) => digits,
        }
    }
}

#[derive(Deserialize)]
struct Information {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: String,
}

/// The answer to a request for a file.
pub struct Part {
    /// The first byte of it that comes.
    pub start: u64,
    /// The bytes.
    pub body: Box<dyn Read>,
}

impl Remote {
    /// The hub at this address. With `certificates`, a file in PEM form, only those who are signed by
    /// one of them are trusted.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub fn new(
        endpoint: &str,
        token: Option<String>,
        certificates: Option<&[u8]>,
    ) -> Result<Remote, String> {
        let mut tls = TlsConfig::builder();
        if let Some(pem) = certificates {
            let mut trusted = Vec::new();
            for item in parse_pem(pem) {
                if let PemItem::Certificate(certificate) = item.map_err(|e| e.to_string())? {
                    trusted.push(certificate);
                }
            }
            tls = tls.root_certs(RootCerts::Specific(Arc::new(trusted)));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(PAUSE))
            .timeout_per_read(Some(PAUSE))
            .user_agent(concat!("crosslatch/", env!("CARGO_PKG_VERSION")));
        Ok(Remote {
            agent: config.build().into(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// What a repository holds.
    ///
    /// # Errors
    /// If the hub cannot be reached, has no such repository, or answers nonsense.
    pub fn listing(&self, name: &Name) -> Result<Listing, HubError> {
        let Name {
            repository,
            revision,
            ..
        } = name;
        let url = format!(
            "{}/api/models/{repository}/revision/{revision}?blobs=true",
            self.endpoint
        );
        let mut response = self.get(name, &url, None)?;
        self.check(name, &url, response.status())?;
        let body = response.body_mut().with_config().limit(LONGEST_LIST);
        let body = body.read_to_vec().map_err(|e| connection(name, &url, &e))?;
        let answer = |reason: String| HubError::Answer {
            name: name.repository.clone(),
            url: url.clone(),
            reason,
        };
        let information: Information = serde_json::from_slice(&body)
            .map_err(|e| answer(format!("the list of files makes no sense: {e}")))?;
        if !is_commit(&information.sha) {
            return Err(answer(format!("`{}` is no commit", information.sha)));
        }
        let files = information.siblings.into_iter().filter_map(|sibling| {
            let checksum = match (sibling.lfs, sibling.blob_id) {
                (Some(large), _) => Checksum::Sha256(large.sha256),
                (None, Some(id)) => Checksum::Git(id),
                (None, None) => return None,
            };
            let size = sibling.size?;
            is_checksum(checksum.digits()).then_some((sibling.rfilename, Entry { size, checksum }))
        });
        Ok(Listing {
            commit: information.sha,
            files: files.collect(),
        })
    }

    /// The address of a file at a commit.
    pub fn address(&self, name: &Name, commit: &str, file: &str) -> String {
        format!(
            "{}/{}/resolve/{commit}/{file}",
            self.endpoint, name.repository
        )
    }

    /// The bytes at an address, from one on; from the first if the server does not give parts of it.
    /// `None` if it has no such byte.
    ///
    /// # Errors
    /// If the hub cannot be reached, or refuses.
    pub fn part(&self, name: &Name, url: &str, from: u64) -> Result<Option<Part>, HubError> {
        let response = self.get(name, url, Some(from))?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(None);
        }
        self.check(name, url, response.status())?;
        let start = match response.status() {
            StatusCode::PARTIAL_CONTENT => first_byte(&response),
            _ => Some(0),
        };
        let start = start.filter(|&start| start == 0 || start == from);
        let start = start.ok_or_else(|| HubError::Answer {
            name: name.repository.clone(),
            url: url.to_owned(),
            reason: format!("asked for the bytes from {from} on, the hub sent others"),
        })?;
        let body = Box::new(response.into_body().into_reader());
        Ok(Some(Part { start, body }))
    }

    fn get(&self, name: &Name, url: &str, from: Option<u64>) -> Result<Response<Body>, HubError> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(from) = from.filter(|&from| from > 0) {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        request.call().map_err(|e| connection(name, url, &e))
    }

    fn check(&self, name: &Name, url: &str, status: StatusCode) -> Result<(), HubError> {
        let endpoint = self.endpoint.clone();
        let repository = name.repository.clone();
        Err(match status.as_u16() {
            200..300 => return Ok(()),
            404 => HubError::Missing {
                name: repository,
                endpoint,
            },
            status @ (401 | 403) => HubError::Refused {
                name: repository,
                endpoint,
                status,
            },
            status => HubError::Connection {
                name: repository,
                url: url.to_owned(),
                reason: format!("the hub answers {status}"),
            },
        })
    }
}

fn connection(name: &Name, url: &str, error: &Error) -> HubError {
    HubError::Connection {
        name: name.repository.clone(),
        url: url.to_owned(),
        reason: error.to_string(),
    }
}

/// The first byte of a partial answer: `Content-Range: bytes 5-9/10`.
fn first_byte(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?;
    let range = range.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.parse().ok()
}
