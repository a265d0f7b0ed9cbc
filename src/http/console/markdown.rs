//! Markdown of an answer, as HTML that can do no harm.
//!
//! Part of an answer is what others wrote: a model, an application, whoever named something. So there are formatted
//! words, lists, code, tables and links to the web or to a page of here; HTML is text, and of a picture its description
//! is left.

use minijinja::HtmlEscape;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, TextMergeStream};
use url::{ParseError, Url};

use crate::reply::strip_ansi;

/// What ends a web address in plain words, and what stands behind one in a sentence.
const NOT_IN_ADDRESS: [char; 5] = ['<', '>', '"', '\'', '`'];
const AFTER_ADDRESS: [char; 8] = ['.', ',', ';', ':', '!', '?', ')', '*'];

/// The HTML.
pub(super) fn html(text: &str) -> String {
    let text = text.lines().map(strip_ansi).collect::<Vec<_>>().join("\n");
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut writer = Writer::default();
    for event in TextMergeStream::new(Parser::new_ext(&text, options)) {
        writer.write(&event);
    }
    writer.html
}

#[derive(Debug, Default)]
struct Writer {
    html: String,
    open: Vec<Element>,
    is_in_head: bool,
}

/// An element that is open.
#[derive(Debug, Clone, Copy)]
struct Element {
    end: &'static str,
    /// Whether web addresses in it are links.
    has_links: bool,
}

impl Element {
    fn new(end: &'static str) -> Self {
        Self { end, has_links: true }
    }

    fn without_links(end: &'static str) -> Self {
        Self { end, has_links: false }
    }
}

impl Writer {
    fn write(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(tag) => {
                let element = self.begin(tag);
                self.open.push(element);
            }
            Event::End(tag) => {
                if *tag == TagEnd::TableHead {
                    self.is_in_head = false;
                }
                if let Some(Element { end, .. }) = self.open.pop() {
                    self.html.push_str(end);
                }
            }
            Event::Text(text) if self.open.iter().all(|it| it.has_links) => self.words(text),
            Event::Text(text)
            | Event::Html(text)
            | Event::InlineHtml(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::FootnoteReference(text) => self.text(text),
            Event::Code(text) => {
                self.html.push_str("<code>");
                self.text(text);
                self.html.push_str("</code>");
            }
            Event::SoftBreak => self.html.push('\n'),
            Event::HardBreak => self.html.push_str("<br>"),
            Event::Rule => self.html.push_str("<hr>"),
            Event::TaskListMarker(is_done) => self.html.push_str(if *is_done { "☑ " } else { "☐ " }),
        }
    }

    fn begin(&mut self, tag: &Tag<'_>) -> Element {
        let (begin, end) = match tag {
            Tag::Paragraph | Tag::HtmlBlock => ("<p>", "</p>"),
            // Above them stand the titles of the page and of the answer.
            Tag::Heading { level: HeadingLevel::H1 | HeadingLevel::H2, .. } => ("<h3>", "</h3>"),
            Tag::Heading { .. } => ("<h4>", "</h4>"),
            Tag::BlockQuote(_) => ("<blockquote>", "</blockquote>"),
            Tag::CodeBlock(CodeBlockKind::Indented | CodeBlockKind::Fenced(_)) => {
                self.html.push_str(r#"<pre class="output" tabindex="0" role="group" aria-label="Output"><code>"#);
                return Element::without_links("</code></pre>");
            }
            Tag::List(Some(first)) => {
                self.html.extend([r#"<ol start=""#, &first.to_string(), r#"">"#]);
                ("", "</ol>")
            }
            Tag::List(None) => ("<ul>", "</ul>"),
            Tag::Item => ("<li>", "</li>"),
            Tag::Table(_) => (
                r#"<div class="scroll" tabindex="0" role="region" aria-label="Table"><table class="table">"#,
                "</tbody></table></div>",
            ),
            Tag::TableHead => {
                self.is_in_head = true;
                ("<thead><tr>", "</tr></thead><tbody>")
            }
            Tag::TableRow => ("<tr>", "</tr>"),
            Tag::TableCell if self.is_in_head => (r#"<th scope="col">"#, "</th>"),
            Tag::TableCell => ("<td>", "</td>"),
            Tag::Emphasis => ("<em>", "</em>"),
            Tag::Strong => ("<strong>", "</strong>"),
            Tag::Strikethrough => ("<del>", "</del>"),
            Tag::Link { link_type, dest_url, .. } if *link_type != LinkType::Email && may_lead_to(dest_url) => {
                self.link(dest_url);
                return Element::without_links("</a>");
            }
            Tag::Link { .. }
            | Tag::Image { .. }
            | Tag::Superscript
            | Tag::Subscript
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::MetadataBlock(_) => ("", ""),
        };
        self.html.push_str(begin);
        Element::new(end)
    }

    fn link(&mut self, place: &str) {
        self.html.push_str("<a rel=\"nofollow noopener noreferrer\" href=\"");
        self.text(place);
        self.html.push_str("\">");
    }

    fn text(&mut self, text: &str) {
        self.html.push_str(&HtmlEscape(text).to_string());
    }

    /// Text in which web addresses are links.
    fn words(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = ["http://", "https://"].iter().filter_map(|it| rest.find(it)).min() {
            let (before, from) = rest.split_at(at);
            self.text(before);
            let ends = |it: char| it.is_whitespace() || NOT_IN_ADDRESS.contains(&it);
            let address = from[..from.find(ends).unwrap_or(from.len())].trim_end_matches(AFTER_ADDRESS);
            if Url::parse(address).is_ok() {
                self.link(address);
                self.text(address);
                self.html.push_str("</a>");
            } else {
                self.text(address);
            }
            rest = &from[address.len()..];
        }
        self.text(rest);
    }
}

/// Whether a link may lead there: to the web, or to a page of here. Read as browsers read it.
fn may_lead_to(place: &str) -> bool {
    match Url::parse(place) {
        Ok(url) => matches!(url.scheme(), "http" | "https"),
        Err(error) => error == ParseError::RelativeUrlWithoutBase,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a browser reads it, but for what would be markup then.
    fn shown(text: &str) -> String {
        html(text).replace("&#x2f;", "/").replace("&#x27;", "'")
    }

    #[test]
    fn words_lists_code_and_tables_are_formatted() {
        assert_eq!(
            shown("**`notes` is running.** It *is*.\n\n1. a\n2. b"),
            "<p><strong><code>notes</code> is running.</strong> It <em>is</em>.</p>\
             <ol start=\"1\"><li>a</li><li>b</li></ol>"
        );
        assert!(shown("```text\n<b> http://a.test\n```").ends_with("<code>&lt;b&gt; http://a.test\n</code></pre>"));
        let table = shown("| a |\n| --- |\n| `b` |");
        assert!(table.contains("<thead><tr><th scope=\"col\">a</th></tr></thead><tbody><tr><td>"), "{table}");
        assert_eq!(shown("# big\n\n### small"), "<h3>big</h3><h4>small</h4>");
    }

    #[test]
    fn links_lead_to_the_web_or_to_a_page_of_here() {
        const REL: &str = "rel=\"nofollow noopener noreferrer\"";

        assert_eq!(
            shown("- At http://a.test:80/a_b (HTTP 200)"),
            format!("<ul><li>At <a {REL} href=\"http://a.test:80/a_b\">http://a.test:80/a_b</a> (HTTP 200)</li></ul>")
        );
        assert_eq!(shown("[a](/keys)"), format!("<p><a {REL} href=\"/keys\">a</a></p>"));
        assert_eq!(
            shown("see https://a.test."),
            format!("<p>see <a {REL} href=\"https://a.test\">https://a.test</a>.</p>")
        );
        let elsewhere = ["javascript:a", "JaVaScRiPt:a", "data:text/html,a", "vbscript:a", "<java\tscript:a>"];
        assert_eq!(elsewhere.map(|it| shown(&format!("[a]({it})"))), ["<p>a</p>"; 5]);
    }

    #[test]
    fn html_and_pictures_are_text() {
        let shown = shown("<script>alert(1)</script>\n\na <img src=x> ![b](https://a.test/c.png) \u{1b}[31mred");

        assert!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{shown}");
        assert!(!shown.contains("<img") && !shown.contains("c.png") && !shown.contains('\u{1b}'), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_is_said_only_known_elements_come_of_it(text in "[<>a-z!/\"'`*_\\[\\]()|#:&; \n-]{0,80}") {
            let known = "p h3 h4 blockquote pre code ol ul li div table thead tbody tr th td em strong del a br hr";
            for element in html(&text).split('<').skip(1) {
                let name = element.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
                prop_assert!(known.split(' ').any(|it| it == name), "{element}");
            }
        }
    }
}
