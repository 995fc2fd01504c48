//! The facts as a page.
//!
//! One file that needs nothing else: a template with style and script, and the facts as JSON in it.
//! The script builds all that is seen from the facts, names from the model as text only, and the
//! page's own policy forbids it to load anything.

use serde_json::Value;

const TEMPLATE: &str = include_str!("page.html");
/// Where the facts go.
const PLACE: &str = "{{facts}}";

/// Renders the page.
///
/// # Errors
/// If the facts are no JSON, which they are.
pub fn render(facts: &Value) -> Result<String, serde_json::Error> {
    // What stands in a script element ends at the first `</script`, wherever that is.
    let facts = serde_json::to_string(facts)?.replace('<', "\\u003c");
    Ok(TEMPLATE.replace(PLACE, &facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_as_they_were_and_cannot_end_the_script() {
        let facts = serde_json::json!({"file": "</script><script>alert(1)//<!-- {{facts}}"});
        let page = render(&facts).unwrap();
        assert_eq!(TEMPLATE.matches(PLACE).count(), 1);
        let open = "<script type=\"application/json\" id=\"facts\">";
        let inside = page.split(open).nth(1).unwrap().split("</script>").next();
        let read: Value = serde_json::from_str(inside.unwrap()).unwrap();
        assert_eq!(read, facts);
        let scripts = |page: &str| page.matches("<script").count();
        assert_eq!(scripts(&page), scripts(TEMPLATE));
    }
}
