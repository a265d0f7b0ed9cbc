//! Dockerfiles as people write them.

use proptest::prelude::*;

use super::*;
use crate::id::StageName;

fn ports(text: &str) -> Vec<String> {
    read(text).unwrap().ports.iter().map(ToString::to_string).collect()
}

#[test]
fn an_unknown_instruction_is_named_with_its_line_and_what_was_meant() {
    let error = read("FROM busybox:stable\n\nRUNN echo\n").unwrap_err();

    assert_eq!(error, Remark { line: 3, what: "unknown instruction `RUNN`, did you mean `RUN`?".to_owned() });
}

#[test]
fn a_file_without_a_stage_is_an_error() {
    assert!(read("").unwrap_err().what.contains("FROM"));
    assert!(read("ARG A=1\n").unwrap_err().what.contains("FROM"));
    assert!(read("RUN a\nFROM b\n").unwrap_err().what.contains("FROM"));
}

#[test]
fn another_reader_may_know_more_instructions() {
    let info = read("# syntax=example.com/reader:1\nFROM a:1\nINCLUDE x\n").unwrap();

    assert_eq!(info.ports, []);
    assert!(info.warnings[0].of("Dockerfile").starts_with("Dockerfile, line 3: unknown instruction `INCLUDE`"));
}

#[test]
fn a_mistake_for_the_reader_of_docker_is_an_error() {
    assert_eq!(read("# syntax=docker/dockerfile:1\nFROM a:1\nINCLUDE x\n").unwrap_err().line, 3);
}

#[test]
fn ports_are_those_of_the_last_stage_in_the_order_of_the_file() {
    assert_eq!(
        ports("FROM a AS x\nEXPOSE 1\nFROM b\nEXPOSE 8125/udp 80\nexpose 443/TCP 80\n"),
        ["8125/udp", "80/tcp", "443/tcp"]
    );
}

#[test]
fn a_stage_on_a_stage_inherits_ports_and_variables() {
    assert_eq!(ports("FROM a AS Base\nENV P=7\nEXPOSE 5\nFROM base\nEXPOSE $P\n"), ["5/tcp", "7/tcp"]);
}

#[test]
fn a_stage_goes_by_its_own_name_and_not_by_that_of_the_stage_it_stands_on() {
    assert_eq!(ports("FROM a AS x\nEXPOSE 1\nFROM x AS y\nEXPOSE 2\nFROM y\n"), ["1/tcp", "2/tcp"]);
    assert_eq!(ports("FROM a AS x\nEXPOSE 1\nFROM x AS y\nEXPOSE 2\nFROM x\n"), ["1/tcp"]);
}

#[test]
fn the_base_is_the_image_that_the_last_chain_of_stages_starts_from() {
    let base = |text: &str| read(text).unwrap().base;

    assert_eq!(base("FROM a:1\nFROM b:1 AS x\nFROM x\n").as_deref(), Some("b:1"));
    assert_eq!(base("FROM $B\n"), None);
}

#[test]
fn warnings_name_the_line_of_their_instruction() {
    let info = read("# x\nARG A_TOKEN=x\n\nFROM a\nENV B_TOKEN=x\nFROM b:1 AS x\nRUN x\nFROM x\n").unwrap();

    let lines: Vec<usize> = info.warnings.iter().map(|it| it.line).collect();
    assert_eq!(lines, [2, 4, 5, 8, 8], "{:#?}", info.warnings);
}

#[test]
fn a_variable_beyond_the_bound_is_unknown() {
    let many = (1..=MAX_VARIABLES).map(|n| format!("ENV A{n}={n}\n")).collect::<Vec<_>>().concat();

    assert_eq!(ports(&format!("FROM a\n{many}EXPOSE $A{MAX_VARIABLES}\n")), [format!("{MAX_VARIABLES}/tcp")]);
    assert!(ports(&format!("FROM a\n{many}ENV B=80\nEXPOSE $B\n")).is_empty());
}

#[test]
fn variables_in_ports_come_from_arg_and_env_of_the_stage() {
    assert_eq!(
        ports("ARG P=9\nFROM a\nEXPOSE ${P:-1}\nARG P\nEXPOSE $P\nENV P=8\nARG P=7\nEXPOSE ${P}/udp\n"),
        ["1/tcp", "9/tcp", "8/udp"]
    );
    assert_eq!(ports("FROM a\nENV P 70\nENV A=1 \\\n  B=${P}${P}\nEXPOSE ${C:-8080} $B\n"), ["8080/tcp", "7070/tcp"]);
}

#[test]
fn a_range_is_written_out_up_to_a_bound() {
    assert_eq!(ports("FROM a\nEXPOSE 8000-8002\n"), ["8000/tcp", "8001/tcp", "8002/tcp"]);
    assert_eq!(ports("FROM a\nEXPOSE 1-65535\n").len(), MAX_PORTS);
    assert_eq!(ports("FROM a\nEXPOSE 1-65535\nEXPOSE 80\n").len(), MAX_PORTS);
}

#[test]
fn a_port_that_cannot_be_known_is_a_warning() {
    let info = read("FROM a:1\nUSER 1\nHEALTHCHECK NONE\nEXPOSE $P\nEXPOSE 70000\n").unwrap();

    assert_eq!(info.ports, []);
    assert_eq!(info.warnings.len(), 2);
    assert!(info.warnings[0].of("web/Dockerfile").starts_with("`web/Dockerfile`, line 4: EXPOSE `$P`"));
}

#[test]
fn here_documents_and_another_escape_are_understood() {
    assert_eq!(
        ports("FROM a\nRUN python3 <<EOF\nEXPOSE 1\nEOF\nCOPY <<A <<B /x/\nEXPOSE 2\nA\nUSER x\nB\nEXPOSE 3\n"),
        ["3/tcp"]
    );
    assert_eq!(ports("# escape=`\nFROM a\nEXPOSE `\n  5\n"), ["5/tcp"]);
}

#[test]
fn copy_names_what_it_takes_from_the_context() {
    let info = read(
        "FROM a\nARG D=src\nCOPY $D [x /\nCOPY --from=b /y /\nADD https://h/x git@h:y z /\nCOPY [\"p q\", \"/\"]\nCOPY $N /\n",
    );

    let paths: Vec<String> = info.unwrap().sources.into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["src", "[x", "z", "p q"]);
}

#[test]
fn doubling_variables_end_soon() {
    let doubling = (0..10_000).map(|n| format!("ENV A{}=$A{n}$A{n}\n", n + 1)).collect::<Vec<_>>().concat();

    assert!(read(&format!("FROM a\nENV A0=xx\n{doubling}")).is_ok());
    assert!(read(&"FROM a AS b\n".repeat(MAX_STAGES + 1)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_likely_text_makes_it_panic(parts in proptest::collection::vec(prop::sample::select(vec![
        "FROM a", "\n", " ", "\\\n", "RUN ", "COPY ", "<<A", "A\n", "EXPOSE ", "80", "-", "/udp", "$", "{P:-", "}", "ENV ",
        "ARG ", "P=", "[\"", "\"]", ",", "\"", "'", "\r\n", "\t", "#", "# escape=`\n", "`\n", "ONBUILD ", "HEALTHCHECK ",
        "CMD ", "NONE", "--from=", "SHELL ", "USER ", "é", "\u{b}", "AS ", "\\u12", "\u{feff}", "\r", "VOLUME ", "ENTRYPOINT ",
    ]), 0..40)) {
        let _ = read(&parts.concat());
        let _ = read(&format!("FROM a\n{}", parts.concat()));
    }
}

fn given(args: &[(&str, &str)], target: Option<&str>) -> BuildOptions {
    let args = args.iter().map(|(name, value)| (EnvironmentName::parse(*name).unwrap(), (*value).to_owned()));
    let target = target.map(|name| StageName::parse(name).unwrap());
    BuildOptions { args: args.collect(), target, ..BuildOptions::default() }
}

fn mistakes(text: &str) -> Vec<String> {
    match read_with(text, &BuildOptions::default()) {
        Err(DockerfileError::Mistakes(mistakes, _)) => {
            mistakes.iter().map(|it| format!("{}: {}", it.line, it.what)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_what_the_rest_takes() {
    let text = "FROM a:1\nRUNN x \\\n  y\nCOPY gone /\nEXPOSE\nCOPPY . .\nCOPY also /\n";

    assert_eq!(
        mistakes(text),
        [
            "2: unknown instruction `RUNN`, did you mean `RUN`?",
            "5: EXPOSE instruction requires at least one argument",
            "6: unknown instruction `COPPY`, did you mean `COPY`?",
        ]
    );
    let Err(DockerfileError::Mistakes(_, info)) = read_with(text, &BuildOptions::default()) else {
        panic!("it is read")
    };
    assert_eq!(
        info.sources.iter().map(|it| (it.line, it.path.as_str())).collect::<Vec<_>>(),
        [(4, "gone"), (7, "also")]
    );
}

#[test]
fn what_follows_from_a_mistake_is_none_of_its_own() {
    assert_eq!(mistakes("FORM a\nRUN x\nRUN y\n"), ["1: unknown instruction `FORM`, did you mean `FROM`?"]);
    assert_eq!(mistakes(&format!("FROM a\n{}", "RUNN\n".repeat(100))).len(), MAX_MISTAKES);
}

#[test]
fn empty_lists_are_instructions() {
    assert_eq!(ports("FROM a\nENTRYPOINT []\nCMD []\nentrypoint [ ]\nCMD [ ]\nEXPOSE 1\n"), ["1/tcp"]);
    assert!(read("FROM a\nENTRYPOINT\n").is_err());
}

#[test]
fn the_stage_that_is_asked_for_says_what_the_image_is() {
    let text = "FROM a:1 AS build\nCOPY src /\nEXPOSE 1\nFROM b:1 AS web\nCOPY --from=build /x /\nEXPOSE 2\nUSER me\n\
                FROM c:1 AS test\nCOPY tests /\nEXPOSE 3\n";
    let seen = |target: Option<&str>| {
        let info = read_with(text, &given(&[], target)).unwrap();
        let paths: Vec<String> = info.sources.iter().map(|it| it.path.clone()).collect();
        let warnings: Vec<String> = info.warnings.iter().map(|it| it.of("Dockerfile")).collect();
        (info.base.unwrap(), info.ports[0].number.get(), paths, warnings)
    };

    let (base, port, paths, warnings) = seen(Some("WEB"));
    assert_eq!((base.as_str(), port, paths), ("b:1", 2, vec!["src".to_owned()]));
    assert_eq!(warnings, ["Dockerfile, line 4: the last stage has no `HEALTHCHECK`."]);
    let (base, port, paths, _) = seen(Some("0"));
    assert_eq!((base.as_str(), port, paths), ("a:1", 1, vec!["src".to_owned()]));
    let (base, port, paths, _) = seen(None);
    assert_eq!((base.as_str(), port, paths), ("c:1", 3, vec!["tests".to_owned()]));
}

#[test]
fn a_stage_that_is_not_there_is_told_with_those_that_are() {
    let error = read_with("FROM a AS build\nFROM b\n", &given(&[], Some("web"))).unwrap_err();

    assert_eq!(error, DockerfileError::NoSuchStage(vec!["build".to_owned(), "1".to_owned()]));
}

#[test]
fn arguments_of_the_request_come_before_the_defaults_of_the_file() {
    let text = "ARG B=a:1\nFROM $B\nARG P=80\nEXPOSE $P\n";
    let info = read_with(text, &given(&[("B", "b:2"), ("P", "90")], None)).unwrap();

    assert_eq!((info.base.as_deref(), info.ports[0].number.get()), (Some("b:2"), 90));
}

#[test]
fn an_argument_that_nobody_sets_is_told_where_it_is_used() {
    let text = "ARG BASE\nARG G=1\nFROM ${BASE} AS x\nARG A B=2 C G TARGETARCH D E\nENV C=3\n\
                RUN echo $B $C $G $TARGETARCH ${D:-4} \\\n  ${A}\nRUN <<EOF\necho $E\nEOF\nFROM x AS other\nRUN $A\n";
    let unset = |args: &[(&str, &str)], target: &str| {
        let info = read_with(text, &given(args, Some(target))).unwrap();
        info.unset_args.iter().map(|it| format!("{} {}", it.line, it.name)).collect::<Vec<_>>()
    };

    assert_eq!(unset(&[], "x"), ["3 BASE", "7 A", "9 E"]);
    assert_eq!(unset(&[("BASE", "a"), ("A", ""), ("E", "1")], "x"), Vec::<String>::new());
    let info = read_with(text, &given(&[("BASE", "a:1"), ("E", "1")], Some("x"))).unwrap();
    assert_eq!(
        info.warnings[0].of("Dockerfile"),
        "Dockerfile, line 7: ARG `A` has no value; send one in `build_args`."
    );
}

#[test]
fn arguments_that_nothing_takes_or_that_are_secrets_are_told() {
    let args = [("NPM_TOKEN", "x"), ("TYPO", "y"), ("HTTP_PROXY", "z")];
    let info = read_with("FROM a:1\nARG NPM_TOKEN\nUSER me\nHEALTHCHECK NONE\n", &given(&args, None)).unwrap();

    let warnings: Vec<String> = info.warnings.iter().map(|it| it.of("Dockerfile")).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("`NPM_TOKEN`") && warnings[0].contains("`build_secrets`"));
    assert_eq!(warnings[1], "`build_args` has `TYPO`, which no ARG of the Dockerfile takes.");
    assert!(warnings.iter().all(|it| !it.contains('x') || !it.contains("=x")));
}

#[test]
fn secrets_that_a_build_mounts_are_known_by_their_ids() {
    let text = "FROM a\nRUN --mount=type=secret,id=npm,target=/root/.npmrc,required=true x\n\
                RUN --mount=type=secret,target=/run/key --mount=type=cache,id=c,target=/c y\n";
    let secrets = read(text).unwrap().secrets;

    let found: Vec<_> = secrets.iter().map(|it| (it.line, it.name.as_str(), it.required)).collect();
    assert_eq!(found, [(2, "npm", true), (3, "key", false)]);
}

#[test]
fn a_mount_of_another_stage_makes_it_part_of_the_build() {
    let text = "FROM a AS tools\nCOPY tools /\nFROM b AS web\nRUN --mount=type=bind,from=tools,target=/t /t/x\n";

    assert_eq!(read(text).unwrap().sources.len(), 1);
}
