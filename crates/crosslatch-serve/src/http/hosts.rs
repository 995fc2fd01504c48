//! Which host a request was meant for, and which page made it.
//!
//! A server that listens only on this machine can still be reached by every page that a browser on
//! this machine shows: the page's own name may be made to resolve to 127.0.0.1 after the page was
//! loaded (DNS rebinding), or the page simply sends a form. The first can be told by `Host`, which
//! is the name by which the page was loaded, and the second by `Origin`, which browsers add and
//! pages cannot change. So on loopback both have to be names of this machine, or names that whoever
//! runs the server has given. Origins that may use the server from afar ([`Origin`]) pass as well.

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::error::{ApiError, shown};
use super::origins::{Origin, have};

/// The hosts that a server answers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Hosts {
    /// This machine's own names if the server listens on loopback, otherwise any.
    #[default]
    ByAddress,
    /// This machine's own names (`localhost`, loopback addresses) and these.
    Named(Vec<String>),
    /// Any.
    Any,
}

impl Hosts {
    /// Decides what was left to the address: whether the server listens on loopback.
    pub(crate) fn decided(self, is_loopback: bool) -> Hosts {
        match self {
            Hosts::ByAddress if is_loopback => Hosts::Named(Vec::new()),
            Hosts::ByAddress => Hosts::Any,
            decided => decided,
        }
    }

    /// Refuses a request that is meant for another host, or that a page made which is neither this
    /// machine's nor of one of `origins`.
    pub(crate) fn check(
        &self,
        origins: &[Origin],
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let (Hosts::Named(_) | Hosts::ByAddress) = self else {
            return Ok(());
        };
        let mut given = headers.get_all(HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            let message = "the request has no Host header, or several";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
        };
        let is_meant = authority(host.as_bytes()).is_some_and(|host| self.has(&host))
            && uri.authority().is_none_or(|host| self.has(host));
        if !is_meant {
            return Err(refused("Host", host, "--allow-host", "host_not_allowed"));
        }
        for origin in headers.get_all(ORIGIN) {
            if have(origins, origin) {
                continue;
            }
            let page = origin.to_str().ok().and_then(|o| o.parse::<Uri>().ok());
            let page = page.as_ref().and_then(Uri::authority);
            if !page.is_some_and(|host| self.has(host)) {
                let options = "--allow-host, or with --allow-origin to let other pages use it";
                return Err(refused("Origin", origin, options, "origin_not_allowed"));
            }
        }
        Ok(())
    }

    /// Refuses a socket that a page opens which is not of the host that it asks. Browsers let any page
    /// open any socket and read what comes, so this is checked wherever the server listens.
    pub(crate) fn check_socket(
        &self,
        origins: &[Origin],
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let host = headers
            .get(HOST)
            .and_then(|host| authority(host.as_bytes()));
        for origin in headers.get_all(ORIGIN) {
            let page = origin.to_str().ok().and_then(|o| o.parse::<Uri>().ok());
            let page = page.as_ref().and_then(Uri::authority);
            let is_own = page.is_some_and(|page| {
                let is_same = |host: &Authority| bare(page.as_str()) == bare(host.as_str());
                let is_named = matches!(self, Hosts::Named(_)) && self.has(page);
                host.as_ref().is_some_and(is_same) || is_named
            });
            if !is_own && !have(origins, origin) {
                let options = "--allow-host, or with --allow-origin to let other pages use it";
                return Err(refused("Origin", origin, options, "origin_not_allowed"));
            }
        }
        Ok(())
    }

    fn has(&self, host: &Authority) -> bool {
        // A user name has no place in either header.
        if host.as_str().contains('@') {
            return false;
        }
        let name = bare(host.host());
        let is_own = name == "localhost"
            || name.ends_with(".localhost")
            || name
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        let Hosts::Named(names) = self else {
            return is_own;
        };
        let is_named = |given: &String| match authority(given.as_bytes()) {
            Some(given) => bare(given.host()) == name,
            None => bare(given) == name,
        };
        is_own || names.iter().any(is_named)
    }
}

fn authority(host: &[u8]) -> Option<Authority> {
    Authority::try_from(host).ok()
}

/// A host in the form in which hosts are compared.
fn bare(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn refused(header: &str, value: &HeaderValue, options: &str, code: &'static str) -> ApiError {
    let value = shown(&String::from_utf8_lossy(value.as_bytes()));
    let message = format!(
        "{header} is {value}, which is not this machine; if that is a name of this server, start it \
         with {options}"
    );
    ApiError::new(StatusCode::FORBIDDEN, message).with_code(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(hosts: &Hosts, uri: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, value.parse().unwrap());
        }
        hosts.check(&[], &uri.parse().unwrap(), &all).is_ok()
    }

    #[test]
    fn a_server_on_loopback_answers_to_this_machines_names_at_any_port() {
        let own = Hosts::default().decided(true);
        for host in [
            "localhost",
            "localhost:8000",
            "LOCALHOST.:1",
            "app.localhost:3000",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]:8000",
            "[::1]",
        ] {
            assert!(is_allowed(&own, "/", &[("host", host)]), "{host}");
            let origin = format!("http://{host}");
            let headers = [("host", "localhost"), ("origin", origin.as_str())];
            assert!(is_allowed(&own, "/", &headers), "{origin}");
        }
    }

    #[test]
    fn a_name_that_is_made_to_mean_this_machine_is_refused_and_so_are_other_pages() {
        let own = Hosts::default().decided(true);
        for host in [
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@localhost",
            "192.168.0.1:8000",
            "0.0.0.0:8000",
            "[::2]:8000",
            "",
            "a b",
        ] {
            assert!(!is_allowed(&own, "/", &[("host", host)]), "{host}");
        }
        for origin in [
            "http://evil.example",
            "https://localhost.evil.example:8000",
            "null",
            "file://",
            "",
        ] {
            let headers = [("host", "localhost"), ("origin", origin)];
            assert!(!is_allowed(&own, "/", &headers), "{origin}");
        }
        assert!(!is_allowed(&own, "/", &[]));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(!is_allowed(&own, "/", &two));
        // The whole address in the first line counts as well.
        let host = [("host", "localhost")];
        assert!(!is_allowed(&own, "http://evil.example/", &host));
        assert!(is_allowed(&own, "http://localhost:8000/", &host));
    }

    #[test]
    fn a_socket_is_opened_by_no_page_or_by_one_of_the_same_host() {
        let is_allowed = |hosts: &Hosts, origins: &[Origin], headers: &[(&'static str, &str)]| {
            let mut all = HeaderMap::new();
            for (name, value) in headers {
                all.append(*name, value.parse().unwrap());
            }
            hosts.check_socket(origins, &all).is_ok()
        };
        let any = Hosts::default().decided(false);
        let own = Hosts::default().decided(true);
        let host = ("host", "voice.example:8000");
        for origin in ["http://voice.example:8000", "https://Voice.Example:8000"] {
            assert!(is_allowed(&any, &[], &[host, ("origin", origin)]));
        }
        for origin in ["http://voice.example", "http://evil.example:8000", "null"] {
            assert!(
                !is_allowed(&any, &[], &[host, ("origin", origin)]),
                "{origin}"
            );
            assert!(is_allowed(
                &any,
                &[Origin::Any],
                &[host, ("origin", origin)]
            ));
        }
        assert!(is_allowed(&any, &[], &[host]));
        let proxied = [("host", "localhost"), ("origin", "http://127.0.0.1:9")];
        assert!(is_allowed(&own, &[], &proxied));
        assert!(!is_allowed(&any, &[], &proxied));
    }

    #[test]
    fn names_that_were_given_are_allowed_and_elsewhere_any_name_is() {
        let named = Hosts::Named(vec!["voice.example".to_owned(), "10.0.0.7:80".to_owned()]);
        for host in [
            "Voice.Example:443",
            "voice.example",
            "10.0.0.7:9",
            "localhost",
        ] {
            assert!(is_allowed(&named, "/", &[("host", host)]), "{host}");
        }
        assert!(!is_allowed(&named, "/", &[("host", "x.voice.example")]));
        let any = Hosts::default().decided(false);
        assert!(is_allowed(&any, "/", &[("host", "evil.example")]));
        assert!(is_allowed(&any, "/", &[]));
        assert_eq!(named.clone().decided(false), named);
    }
}
