//! JSON text read straight into values, without a tree between them.
//!
//! The rules of the contract for every object are here: the last of several equal keys counts, unknown keys
//! are ignored, and null counts as absent. The refusal of a wrong value begins with the name of its field.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{BorrowedStrDeserializer, StrDeserializer},
    },
};
use serde_json::value::RawValue;

/// The name under which [`RawValue`] asks for the text of a value.
const RAW: &str = "$serde_json::private::RawValue";

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A sentence; before the field is known only its predicate.
    reason: String,
    is_sentence: bool,
}

impl Fault {
    /// The same fault, with the name of the field before it.
    fn in_field(self, field: &str) -> Fault {
        let reason = if self.is_sentence {
            format!("{field}: {}", self.reason)
        } else {
            format!("{field} {}", self.reason)
        };
        Fault { reason, is_sentence: true }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(predicate: T) -> Fault {
        Fault { reason: predicate.to_string(), is_sentence: false }
    }

    fn missing_field(field: &'static str) -> Fault {
        Fault { reason: format!("{field} is missing"), is_sentence: true }
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Fault {
        Fault::custom(format_args!("must be {expected}"))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Fault {
        Fault::custom(format_args!("must be {expected}"))
    }
}

/// The text of a JSON value, to be read as what is asked for.
#[derive(Clone, Copy)]
pub struct Text<'de>(pub &'de RawValue);

impl<'de> Text<'de> {
    fn is_null(self) -> bool {
        self.0.get() == "null"
    }

    /// A string, borrowed if nothing in it is escaped.
    pub fn string(self) -> Option<Cow<'de, str>> {
        #[derive(Deserialize)]
        struct Borrowing<'a>(#[serde(borrow)] Cow<'a, str>);
        serde_json::from_str::<Borrowing<'de>>(self.0.get()).ok().map(|text| text.0)
    }

    fn is_object(self) -> bool {
        self.0.get().starts_with('{')
    }

    /// The fields of an object by their names, the last of several equal ones.
    fn fields(self) -> Result<BTreeMap<Cow<'de, str>, &'de RawValue>, Fault> {
        let mut fields = BTreeMap::new();
        self.each_field(|name, value| {
            fields.insert(name, value);
        })?;
        Ok(fields)
    }

    /// Passes each field of an object to `take`, in order.
    pub fn each_field(self, mut take: impl FnMut(Cow<'de, str>, &'de RawValue)) -> Result<(), Fault> {
        if !self.is_object() {
            return Err(Fault::custom("must be an object"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(self.0.get());
        deserializer.deserialize_map(EachField(&mut take)).map_err(Fault::custom)
    }
}

struct EachField<'a, F>(&'a mut F);

impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for EachField<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        while let Some((Name(name), value)) = map.next_entry()? {
            (self.0)(name, value);
        }
        Ok(())
    }
}

macro_rules! unsigned {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let number = serde_json::from_str::<u64>(self.0.get()).ok();
            match number.filter(|number| i64::try_from(*number).is_ok()) {
                Some(number) => visitor.visit_u64(number),
                None => Err(Fault::custom("must be an unsigned integer below 2^63")),
            }
        })*
    };
}

macro_rules! signed {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match serde_json::from_str::<i64>(self.0.get()) {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(Fault::custom("must be an integer")),
            }
        })*
    };
}

macro_rules! float {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match serde_json::from_str::<f64>(self.0.get()) {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(Fault::custom("must be a number")),
            }
        })*
    };
}

macro_rules! text {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.string() {
                Some(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
                Some(Cow::Owned(text)) => visitor.visit_string(text),
                None => Err(Fault::custom("must be a string")),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Fault;

    unsigned! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }
    signed! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 }
    float! { deserialize_f32 deserialize_f64 }
    text! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.get() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Fault::custom("must be true or false")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == RAW {
            return self.0.deserialize_newtype_struct(name, visitor).map_err(Fault::custom);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if !self.0.get().starts_with('[') {
            return Err(Fault::custom("must be a list"));
        }
        let items: Vec<&'de RawValue> = serde_json::from_str(self.0.get()).map_err(Fault::custom)?;
        visitor.visit_seq(Items(items.into_iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    /// An object whose names are not known before: all of them, what is null included.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let fields = self.fields()?;
        visitor.visit_map(Fields { fields: fields.into_iter(), value: None })
    }

    /// An object of which only these fields are wanted.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut values: Vec<Option<&'de RawValue>> = vec![None; names.len()];
        self.each_field(|name, value| {
            if let Some(place) = names.iter().position(|known| *known == name) {
                values[place] = Some(value).filter(|value| value.get() != "null");
            }
        })?;
        let fields = names.iter().zip(values);
        let fields = fields.filter_map(|(name, value)| Some((Cow::Borrowed(*name), value?)));
        visitor.visit_map(Fields { fields, value: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let word = self.string().ok_or_else(|| Fault::custom("must be a string"))?;
        let word: StrDeserializer<'_, Fault> = word.as_ref().into_deserializer();
        word.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.0.deserialize_any(visitor).map_err(Fault::custom)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct
    }
}

/// The fields of an object, on their way to what they belong to.
struct Fields<'de, I> {
    fields: I,
    /// The field whose name is already read.
    value: Option<(Cow<'de, str>, &'de RawValue)>,
}

impl<'de, I: Iterator<Item = (Cow<'de, str>, &'de RawValue)>> MapAccess<'de> for Fields<'de, I> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.value = self.fields.next();
        let Some((name, _)) = &self.value else { return Ok(None) };
        match name {
            Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
            Cow::Owned(name) => seed.deserialize(name.as_str().into_deserializer()).map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (name, value) = self.value.take().ok_or_else(|| Fault::custom("has no value"))?;
        seed.deserialize(Text(value)).map_err(|fault| fault.in_field(&name))
    }
}

/// The items of a list.
struct Items<'de>(std::vec::IntoIter<&'de RawValue>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.0.next().map(|item| seed.deserialize(Text(item))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// Any JSON whose numbers fit and whose strings are Unicode. Reading it builds nothing.
pub struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sound, D::Error> {
        deserializer.deserialize_any(SoundVisitor)
    }
}

struct SoundVisitor;

impl<'de> Visitor<'de> for SoundVisitor {
    type Value = Sound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_str<E>(self, _: &str) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_unit<E>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
        while items.next_element::<Sound>()?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Sound, A::Error> {
        while fields.next_entry::<Sound, Sound>()?.is_some() {}
        Ok(Sound)
    }
}
