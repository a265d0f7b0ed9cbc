use proptest::prelude::*;

use super::*;

fn read(body: Value) -> ResponsesRequest {
    let Value::Object(body) = body else { panic!("no object") };
    ResponsesRequest::read(body).unwrap()
}

fn chat(body: Value) -> Value {
    Value::Object(read(body).to_chat(&[]))
}

fn error(body: Value) -> Value {
    let Value::Object(body) = body else { panic!("no object") };
    let error = ResponsesRequest::read(body).unwrap_err();
    serde_json::to_value(error.body("req_1")).unwrap()["error"].clone()
}

#[test]
fn text_with_instructions_is_a_conversation() {
    let chat = chat(json!({"model": "m", "input": "hi", "instructions": "Be short.", "action": "list",
        "environment": {"A": "b"}, "max_output_tokens": 5, "store": true, "include": [], "truncation": "auto"}));

    assert_eq!(
        chat,
        json!({"model": "m", "action": "list", "environment": {"A": "b"}, "max_completion_tokens": 5,
            "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hi"}]})
    );
}

#[test]
fn items_become_messages_and_calls_that_follow_each_other_are_one() {
    let chat = chat(json!({"input": [
        {"role": "developer", "content": "rules"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "search", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "sql", "input": "SELECT 1"},
        {"type": "function_call_output", "call_id": "c1", "output": "found"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "1"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ]}));

    insta::assert_json_snapshot!(chat["messages"]);
}

#[test]
fn tools_and_formats_take_the_form_of_chat_completions() {
    let request = read(json!({"input": "hi", "tools": [
            {"type": "function", "name": "search", "parameters": {"type": "object"}, "strict": true},
            {"type": "custom", "name": "sql", "description": "Runs SQL."},
            {"type": "web_search"}, {"type": "namespace", "name": "files"}],
        "tool_choice": {"type": "function", "name": "search"}, "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": true}, "verbosity": "low"}}));

    let mut chat = Value::Object(request.to_chat(&[]));
    chat["messages"] = Value::Null;
    insta::assert_json_snapshot!(chat);
    assert_eq!(request.echo()["metadata"], json!({"tools_left_out": "web_search, namespace files"}));
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (json!({}), "input"),
        (json!({"messages": []}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 1}), "input"),
        (json!({"input": [1]}), "input[0]"),
        (json!({"input": [{"role": "king", "content": "x"}]}), "input[0].role"),
        (json!({"input": [{"type": "new_thing"}]}), "input[0].type"),
        (json!({"input": [{"type": "function_call", "name": "x"}]}), "input[0].call_id"),
        (json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}), "input[0].content[0]"),
        (json!({"input": "x", "temperature": "hot"}), "temperature"),
        (json!({"input": "x", "background": true, "store": false}), "background"),
        (json!({"input": "x", "conversation": "conv_1"}), "conversation"),
        (json!({"input": "x", "metadata": {"a": 1}}), "metadata"),
        (json!({"input": "x", "text": {"format": {"type": "xml"}}}), "text.format"),
        (json!({"input": "x", "tools": [{"type": "function"}]}), "tools[0].name"),
        (json!({"input": "x", "tool_choice": {"type": "web_search_preview"}}), "tool_choice"),
        (json!({"input": "x", "tool_choice": "required", "tools": [{"type": "web_search"}]}), "tool_choice"),
        (json!({"input": "x", "tool_choice": "required"}), "tool_choice"),
        (json!({"input": "x", "tool_choice": {"type": "function", "name": "f"}}), "tool_choice"),
        (json!({"input": "x", "truncation": "some"}), "truncation"),
    ];

    for (body, param) in cases {
        assert_eq!(error(body.clone())["param"], param, "{body}");
    }
    let image = error(json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}));
    assert!(image["message"].as_str().unwrap().contains("no images"), "{image}");
}

#[test]
fn an_item_that_stands_for_another_is_put_in_its_place() {
    let mut request =
        read(json!({"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "go"}]}));

    assert_eq!(request.references().collect::<Vec<_>>(), ["msg_1"]);
    request.resolve(|id| (id == "msg_1").then(|| item::message_of("assistant", "Shall I?")));

    assert_eq!(request.to_chat(&[])["messages"][0], json!({"role": "assistant", "content": "Shall I?"}));
}

/// A conversation of chat completions as items: the way back, which only this test needs.
fn items_of(messages: &[Value]) -> Vec<Value> {
    let mut items = Vec::new();
    for message in messages {
        if message["role"] == "tool" {
            items.push(json!({"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}));
            continue;
        }
        if let Some(text) = message["content"].as_str() {
            items.push(item::message_of(message["role"].as_str().unwrap(), text));
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            items.push(json!({"type": "function_call", "call_id": call["id"], "name": call["function"]["name"],
                "arguments": call["function"]["arguments"]}));
        }
    }
    items
}

/// One turn: what a person says, what the assistant says or calls, and what came of that.
fn turn() -> impl Strategy<Value = Vec<Value>> {
    let call = ("[a-z]{1,8}", ".{0,20}");
    (".{0,20}", proptest::option::of(".{1,20}"), proptest::collection::vec(call, 0..3)).prop_map(
        |(said, answer, calls)| {
            let mut messages = vec![json!({"role": "user", "content": said})];
            if answer.is_none() && calls.is_empty() {
                return messages;
            }
            let mut assistant = json!({"role": "assistant", "content": answer});
            let id = |index: usize| format!("call_{index}");
            if !calls.is_empty() {
                let calls = calls.iter().enumerate();
                assistant["tool_calls"] = calls
                .map(|(index, (name, arguments))| {
                    json!({"id": id(index), "type": "function", "function": {"name": name, "arguments": arguments}})
                })
                .collect();
            }
            messages.push(assistant);
            messages.extend(
                (0..calls.len()).map(|index| json!({"role": "tool", "tool_call_id": id(index), "content": "result"})),
            );
            messages
        },
    )
}

proptest! {
    #[test]
    fn a_conversation_keeps_its_meaning(turns in proptest::collection::vec(turn(), 1..5)) {
        let messages: Vec<Value> = turns.concat();

        let back = chat(json!({"input": items_of(&messages)}));

        prop_assert_eq!(&back["messages"], &Value::Array(messages));
    }

    #[test]
    fn reading_never_panics(kind in "message|function_call|custom_tool_call_output|reasoning|.{0,9}", text in any::<String>(), n in any::<i64>()) {
        for value in [json!(text), json!(n), json!([text]), json!({"type": kind, "text": text}), Value::Null] {
            let item = json!({"type": kind, "role": "user", "content": value, "call_id": value, "output": value, "name": text});
            let Value::Object(body) = json!({"input": [item], "tools": [value], "tool_choice": value, "text": {"format": value},
                "metadata": value, "instructions": text}) else { unreachable!() };
            if let Ok(request) = ResponsesRequest::read(body) {
                let _ = (request.to_chat(&[]), request.echo());
            }
        }
    }
}
