//! Inputs made from others: parts go missing or turn into something else. The same ones each time.

use serde_json::{Value, json};

/// At most `count` mutations of `inputs`, in turn.
pub(super) fn mutations(inputs: &[Value], count: usize) -> Vec<Value> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut made = Vec::with_capacity(count);
    for input in inputs.iter().cycle().take(if inputs.is_empty() { 0 } else { count }) {
        let mut input = input.clone();
        for _ in 0..=numbers.below(3) {
            mutate(&mut input, &mut numbers);
        }
        made.push(input);
    }
    made
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to spread choices, and the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

/// Changes one place.
fn mutate(input: &mut Value, numbers: &mut Numbers) {
    let mut places = Vec::new();
    pointers(input, &mut String::new(), &mut places);
    let Some(at) = places.get(numbers.below(places.len())).cloned() else { return };
    let other = places.get(numbers.below(places.len())).and_then(|p| input.pointer(p)).cloned();
    let Some((parent, last)) = at.rsplit_once('/') else { return };
    match numbers.below(4) {
        // Gone.
        0 => match input.pointer_mut(parent) {
            Some(Value::Object(map)) => drop(map.remove(&last.replace("~1", "/").replace("~0", "~"))),
            Some(Value::Array(items)) => {
                if let Ok(index) = last.parse::<usize>()
                    && index < items.len()
                {
                    items.remove(index);
                }
            }
            _ => {}
        },
        // What stands elsewhere.
        1 => {
            if let (Some(place), Some(other)) = (input.pointer_mut(&at), other) {
                *place = other;
            }
        }
        // Once more beside itself.
        2 => {
            let copy = input.pointer(&at).cloned().unwrap_or_default();
            match input.pointer_mut(parent) {
                Some(Value::Array(items)) => items.push(copy),
                Some(Value::Object(map)) => drop(map.insert("extra".to_owned(), copy)),
                _ => {}
            }
        }
        _ => {
            if let Some(place) = input.pointer_mut(&at) {
                *place = odd_value(place, numbers);
            }
        }
    }
}

fn odd_value(old: &Value, numbers: &mut Numbers) -> Value {
    let text = old.as_str().unwrap_or_default();
    let values = [
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(9_007_199_254_740_993_i64),
        json!(1e300),
        json!(""),
        json!("a"),
        json!("0"),
        json!("kube-system"),
        json!(text.to_uppercase()),
        json!(format!("{text}:latest")),
        json!("%s%d{}[]*.\"\\"),
        json!("é\u{0}𝄞"),
        json!("x".repeat(300)),
        json!([]),
        json!({}),
        json!([null]),
        json!([old]),
        json!({"a": old}),
        json!([[], {}, "a", 1]),
    ];
    values.get(numbers.below(values.len())).cloned().unwrap_or_default()
}

/// All places but the root.
fn pointers(value: &Value, at: &mut String, found: &mut Vec<String>) {
    let mut below = |step: &str, value: &Value, found: &mut Vec<String>| {
        let length = at.len();
        at.push('/');
        at.push_str(step);
        found.push(at.clone());
        pointers(value, at, found);
        at.truncate(length);
    };
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| below(&key.replace('~', "~0").replace('/', "~1"), value, found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_differ_from_their_input_and_not_from_run_to_run() {
        let input = json!({"request": {"object": {"a/b": [1, {"c": null}], "d~e": "text"}}});
        let made = mutations(std::slice::from_ref(&input), 200);
        assert_eq!(made.len(), 200);
        assert_eq!(made, mutations(std::slice::from_ref(&input), 200));
        assert!(made.iter().filter(|m| **m != input).count() > 150);
        assert!(made.iter().any(|m| m.pointer("/request/object/a~1b").is_none()));
    }
}
