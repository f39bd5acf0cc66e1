//! Settings of anchors and witnesses: a word on the command line, a word or a mapping in the file. Knows spellings; what
//! they mean is `decisions`'.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::decisions::{AnchorAddress, HttpMethod, Witness};

/// An anchor as people write it: an address, or in the file a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorSetting(pub(super) Result<AnchorAddress, String>);

/// A witness as people write it: `<url>=<verifier key>`, or in the file a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSetting(pub(super) Result<Witness, String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AnchorMapping {
    url: String,
    method: Option<HttpMethod>,
    #[serde(alias = "token-file")]
    token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WitnessMapping {
    url: String,
    key: String,
}

impl FromStr for AnchorSetting {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(AnchorAddress::parse(text)))
    }
}

impl FromStr for WitnessSetting {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Witness::parse(text)))
    }
}

impl From<AnchorMapping> for AnchorSetting {
    fn from(mapping: AnchorMapping) -> Self {
        Self(AnchorAddress::parse(&mapping.url).and_then(|address| match address {
            AnchorAddress::Http { url, .. } => {
                // A token in the clear is everybody's.
                if mapping.token_file.is_some() && url.scheme() != "https" {
                    return Err(format!("`{}` is not https, so no token is sent there", mapping.url));
                }
                Ok(AnchorAddress::Http {
                    url,
                    method: mapping.method.unwrap_or_default(),
                    token_file: mapping.token_file,
                })
            }
            _ if mapping.method.is_some() => Err("`method` is for http and https only".to_owned()),
            _ if mapping.token_file.is_some() => Err("`tokenFile` is for https only".to_owned()),
            other => Ok(other),
        }))
    }
}

impl From<WitnessMapping> for WitnessSetting {
    fn from(mapping: WitnessMapping) -> Self {
        Self(Witness::new(&mapping.url, &mapping.key))
    }
}

/// A word that `T` reads, or a mapping `M` that becomes one.
struct WordOr<T, M> {
    what: &'static str,
    of: std::marker::PhantomData<(T, M)>,
}

impl<'de, T, M> Visitor<'de> for WordOr<T, M>
where
    T: FromStr<Err = std::convert::Infallible> + From<M>,
    M: Deserialize<'de>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        let Ok(found) = text.parse();
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(T::from)
    }
}

impl<'de> Deserialize<'de> for AnchorSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let what = "an address or a mapping";
        deserializer.deserialize_any(WordOr::<Self, AnchorMapping> { what, of: std::marker::PhantomData })
    }
}

impl<'de> Deserialize<'de> for WitnessSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let what = "`<url>=<key>` or a mapping";
        deserializer.deserialize_any(WordOr::<Self, WitnessMapping> { what, of: std::marker::PhantomData })
    }
}
