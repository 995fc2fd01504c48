//! The facts as a page.
//!
//! The page is one file that needs nothing else: a template with style and script, and the facts in it
//! as JSON. The script builds everything that is seen from the facts and inserts names from the model
//! only as text, and the page's own policy forbids it to load anything.

use serde_json::Value;

const TEMPLATE: &str = include_str!("page.html");
/// The place of the facts in the template.
const PLACE: &str = "{{facts}}";

/// Renders the page.
///
/// # Errors
/// If the facts cannot be written as JSON, which does not happen.
pub fn render(facts: &Value) -> Result<String, serde_json::Error> {
    // A script element ends at the first `</script`, even inside a string.
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
