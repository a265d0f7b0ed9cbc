//! What a process prints when it cannot run -> what that means and what to do.
//!
//! One table. Of all lines that fit a row the last one counts, warnings aside; where rows fit the same line, the first of them. `$name` in a
//! sentence is that group of the expression, and `{user}` the user of the process.

use std::sync::LazyLock;

use regex::Regex;

use crate::diagnosis::Cause;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::log::TimedLine;

/// What a line of a log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogCause {
    /// The cause, when it is a more definite one than that the process ends.
    pub(super) cause: Option<Cause>,
    /// The line.
    pub(super) line: String,
    /// What it means, as a sentence.
    pub(super) meaning: String,
    /// What to do, as a sentence.
    pub(super) advice: String,
}

/// Looks for the cause in what a process printed.
pub(super) fn find(log: &[TimedLine], facts: &Facts) -> Option<LogCause> {
    let user = facts.user_in_words();
    let is_warning = |line: &&TimedLine| line.text.to_ascii_lowercase().contains("warn");
    log.iter().rev().filter(|line| !is_warning(line)).find_map(|line| {
        let (found, row) = KNOWN.iter().find_map(|(expression, row)| Some((expression.captures(&line.text)?, row)))?;
        let filled = |template: &str| {
            let mut text = String::new();
            found.expand(&template.replace("{user}", &user.replace('$', "$$")), &mut text);
            text
        };
        let line = line.text.trim().to_owned();
        Some(LogCause { cause: row.cause, line, meaning: filled(row.meaning), advice: filled(row.advice) })
    })
}

static KNOWN: LazyLock<Vec<(Regex, &Row)>> = LazyLock::new(|| {
    ROWS.iter().map(|row| (Regex::new(row.pattern).expect("a fixed expression is right"), row)).collect()
});

struct Row {
    pattern: &'static str,
    cause: Option<Cause>,
    meaning: &'static str,
    advice: &'static str,
}

const fn row(pattern: &'static str, meaning: &'static str, advice: &'static str) -> Row {
    Row { pattern, cause: None, meaning, advice }
}

impl Row {
    const fn is(self, cause: Cause) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

const UNIX_LINE_ENDS: &str = "Save it with Unix line ends: `*.sh text eol=lf` in `.gitattributes`, or \
    `RUN sed -i 's/\\r$$//' FILE` in the Dockerfile.";
const ALLOW_PATH: &str = "Give it to that user in the Dockerfile (`COPY --chown`, or `RUN chown` before USER), or let the \
    application write to a directory of its own such as `/tmp`.";
const LOW_PORT: &str = "Let it listen on a port above 1023, such as 8080, and send that as `container_port`.";
const ONE_LISTENER: &str = "Let one process listen there: look whether the command starts the server twice, or give one of \
    them another port.";
const SEND_VARIABLE: &str = "Send it in `environment`.";
const REACH_SERVICE: &str = "Send the address of one that the cluster reaches in `environment`; `localhost` in a container is \
    the container itself.";

const ROWS: [Row; 41] = [
    // What cannot be started.
    row(
        r"env: .{0,30}?(?P<program>[\w.-]+)(?:\\r|\r|\^M)|bad interpreter.*(?:\^M|\r)|\^M: bad interpreter|\$'\\r': command not found|\\r: not found|\r: not found",
        "A script has Windows line ends, so that its interpreter is not found.",
        UNIX_LINE_ENDS,
    )
    .is(Cause::CannotStart),
    row(
        r"exec (?P<program>\S+\.(?:sh|bash|py|rb|pl|js)): no such file or directory",
        "`$program` is in the image, and the interpreter in its first line (`#!`) is not; Windows line ends have the same effect.",
        "Save it with Unix line ends (`*.sh text eol=lf` in `.gitattributes`), or install the interpreter in the last stage.",
    )
    .is(Cause::EntrypointMissing),
    row(
        r"exec (?P<program>\S+): no such file or directory|exec user process caused:? .*no such file or directory",
        "What the image starts is there, and what runs it is not: the interpreter in its first line (`#!`, also one with \
         Windows line ends), or the loader of its C library (glibc's in Alpine, any in `scratch`).",
        "Take the same base image in the last stage as where it is compiled, or compile it statically (Go: `CGO_ENABLED=0`; \
         Rust: a musl target); save a script with Unix line ends.",
    )
    .is(Cause::EntrypointMissing),
    row(
        r"exec (?P<program>\S+): permission denied|exec user process caused:? .*permission denied",
        "What the image starts may not be executed.",
        "Make it executable: `RUN chmod +x` in the Dockerfile, or `git update-index --chmod=+x` in the repository.",
    )
    .is(Cause::CannotStart),
    row(
        r"(?:sh|bash|ash|dash): (?:line )?(?:\d+: )?(?P<program>/?[\w./-]+): Permission denied$",
        "`$program` may not be executed or opened by {user}.",
        "Make it executable: `RUN chmod +x $program` in the Dockerfile, or `git update-index --chmod=+x` in the repository.",
    ),
    row(
        r"(?:error while loading shared libraries|Error loading shared library) ?:? ?(?P<library>[^\s:]+)",
        "The library `$library` is not in the image.",
        "Install the package that has `$library` in the last stage, or copy it there from the stage that compiles.",
    ),
    row(
        r"ImportError: (?P<library>lib[\w.+-]+): cannot open shared object file",
        "The library `$library` is not in the image.",
        "Install the package that has `$library` in the last stage.",
    ),
    row(
        r"version `(?P<version>(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found",
        "The program was compiled on a newer system than the one that it runs on, which has no $version.",
        "Take the same release of the base image where it is compiled and in the last stage.",
    ),
    row(
        r"Error relocating (?P<program>\S+): (?P<symbol>\S+): symbol not found",
        "`$program` was compiled for another C library than the image has.",
        "Take the same base image in the last stage as where it is compiled.",
    ),
    // Ports.
    row(
        r"bind\(\) to (?P<address>\S+) failed \(13|listen EACCES: permission denied (?P<address2>\S+)|listen \w+ (?P<address3>\S+): bind: permission denied|could not bind to address (?P<address4>\S+).*\(13\)|\(13\)Permission denied: .*could not bind to address (?P<address5>\S+)|Permission denied - bind\(2\) for (?P<address7>.+?)(?: \(Errno|$)",
        "As {user} it may not listen on `$address$address2$address3$address4$address5$address7`; ports below 1024 are root's where a system is strict.",
        LOW_PORT,
    ),
    row(
        r"bind on address \('(?P<host>[^']+)', (?P<port>\d+).*permission denied",
        "As {user} it may not listen on `$host:$port`; ports below 1024 are root's where a system is strict.",
        LOW_PORT,
    ),
    row(
        r"bind on address \('(?P<host>[^']+)', (?P<port>\d+).*address already in use",
        "Another process in its container listens on `$host:$port` already.",
        ONE_LISTENER,
    ),
    row(
        r"BindException: Permission denied|SocketException: Permission denied",
        "As {user} it may not listen on its port; ports below 1024 are root's where a system is strict.",
        LOW_PORT,
    ),
    row(
        r"bind\(\) to (?P<address>\S+) failed \(98|EADDRINUSE:? (?:address already in use )?(?P<address2>\S+)|listen \w+ (?P<address3>\S+): bind: address already in use|Address already in use - bind\(2\) for (?P<address7>.+?)(?: \(Errno|$)",
        "Another process in its container listens on `$address$address2$address3$address7` already.",
        ONE_LISTENER,
    ),
    row(
        r"(?i)address already in use|AddrInUse|Port (?P<port>\d+) was already in use",
        "Another process in its container listens on its port already.",
        ONE_LISTENER,
    ),
    // Files.
    row(
        r#"(?i)EACCES: permission denied, \w+ '(?P<path>[^']+)'|PermissionError: \[Errno 13\] Permission denied: '(?P<path2>[^']+)'|(?:open|mkdir|create|unlink|rename|chown|chmod)(?:\(\))? "?(?P<path3>/[^\s"':]*)"?(?::| failed \(13:) permission denied|cannot (?:create|touch|open|remove)(?: directory)? ?[‘']?(?P<path4>/?[^\s’':]+)[’']?: permission denied|can't (?:create|open)(?: directory)? '?(?P<path5>[^\s':]+)'?: permission denied|(?:FileNotFoundException: |AccessDeniedException: )(?P<path6>/\S+)(?: \(Permission denied\))?$|failed to open stream: Permission denied in (?P<path7>\S+)|Permission denied @ \w+ - (?P<path8>\S+)"#,
        "As {user} it may not open or write `$path$path2$path3$path4$path5$path6$path7$path8`.",
        ALLOW_PATH,
    ),
    row(
        r"(?i)(?:EROFS: read-only file system, \w+ '(?P<path>[^']+)'|Read-only file system: '(?P<path2>[^']+)')",
        "`$path$path2` lies on a file system that nobody may write to.",
        "Let the application write to another directory, such as `/tmp`.",
    ),
    row(
        r"unable to open database file|attempt to write a readonly database",
        "As {user} it may not write the SQLite database, or the directory that holds it.",
        ALLOW_PATH,
    ),
    row(
        r"PermissionError: \[Errno 13\]|kind: PermissionDenied|(?i:permission denied)$",
        "As {user} it may not do something that it needs.",
        "Let USER in the Dockerfile name a user that may, or give that user what it needs with `RUN chown`.",
    ),
    // Programs, modules and files that are not there.
    row(
        r"No module named '?(?P<name>[\w.]+)",
        "The Python module `$name` is not in the image.",
        "Add it to the requirements that the image installs; if it is the application's own, COPY it, and start it from the directory that holds it.",
    ),
    row(
        r"Cannot find module '(?P<path>[./][^']*)'",
        "The file `$path` is not in the image.",
        "Correct the path in CMD or in the code, or COPY it; what a build step makes has to be made in the Dockerfile.",
    ),
    row(
        r"Cannot find (?:module|package) '(?P<name>[^']+)'",
        "The package `$name` is not in the image.",
        "Add it to `dependencies` (what is only in `devDependencies` is left out of an image for production) and commit the lock file.",
    ),
    row(
        r"can't open file '(?P<path>[^']+)'|Unable to access jarfile (?P<path2>\S+)|Could not open input file: (?P<path3>\S+)|Could not find or load main class (?P<path4>\S+)|no main manifest attribute, in (?P<path5>\S+)",
        "What the command names, `$path$path2$path3$path4$path5`, is not in the image, or not a program.",
        "Correct the path in ENTRYPOINT or CMD, or COPY the file to where they expect it.",
    ),
    row(
        r"ENOENT: no such file or directory, \w+ '(?P<path>[^']+)'|FileNotFoundError: \[Errno 2\] No such file or directory: '(?P<path2>[^']+)'|\b(?:open|stat|chdir) (?P<path3>/?[\w./-]+): no such file or directory|FileNotFoundException: (?P<path4>\S+) \(No such file or directory\)",
        "The file or directory `$path$path2$path3$path4` is not in the image.",
        "COPY it in the Dockerfile, or let the application make it; a relative path counts from WORKDIR.",
    ),
    row(
        r#"Could not import module "(?P<name>[^"]+)"|Attribute "(?P<name2>[^"]+)" not found in module|Failed to find attribute '(?P<name3>[^']+)'|Could not locate a Flask application"#,
        "The command names an application, `$name$name2$name3`, that is not there.",
        "Name the module and the variable that hold it, such as `main:app`, and the directory where it is started.",
    ),
    row(
        r#"Missing script: "?(?P<name>[\w:.-]+)"#,
        "`package.json` has no script `$name`.",
        "Add `$name` to `scripts` in `package.json`, or name another one in CMD.",
    ),
    row(
        r"(?:^|[ /])(?:sh|bash|ash|dash|zsh): (?:line )?(?:\d+: )?(?P<program>[^\s:]*/[^\s:]+): (?:not found|No such file)",
        "A shell cannot run `$program`: the file is not in the image, or the interpreter in its first line is not (as with Windows line ends).",
        "COPY the file to there, and save it with Unix line ends (`*.sh text eol=lf` in `.gitattributes`).",
    ),
    row(
        r"(?:^|[ /])(?:sh|bash|ash|dash|zsh): (?:line )?(?:\d+: )?(?P<program>[^\s:]+): (?:command )?not found|(?P<program2>\S+): command not found|: exec: (?:line )?(?:\d+: )?(?P<program3>[^\s:]+): not found",
        "A shell says that it does not find the program `$program$program2$program3`.",
        "Install it in the last stage, or correct its name.",
    ),
    // Variables.
    row(
        r"KeyError: '(?P<name>[A-Z][A-Z0-9_]+)'|(?P<name2>[A-Za-z_]\w*): (?:unbound variable|parameter (?:null or )?not set)|Set the (?P<name3>[A-Z][A-Z0-9_]+) environment variable|[Ee]nvironment variables? (?:not found|missing|is missing|is required|is not set)[: ]+[`'\x22]?(?P<name4>[A-Z][A-Z0-9_]+)|(?i:missing|required|undefined|unset)[^:]*(?i:variables?|env(?:ironment)?|settings?|keys?)[: ]+[`'\x22]?(?P<name5>[A-Z][A-Z0-9]*_[A-Z0-9_]+)",
        "The variable `$name$name2$name3$name4$name5` is missing.",
        SEND_VARIABLE,
    ),
    row(
        r"\b(?P<name>[A-Z][A-Z0-9]*_[A-Z0-9_]+)[`'\x22]?(?: (?:environment )?variable)?(?: (?:must|has to|needs to) be (?:set|provided|defined|non-empty)|(?: is| was| cannot be)? (?:not set|not defined|not provided|undefined|required|missing|empty|unset))\b",
        "The variable `$name` is missing.",
        SEND_VARIABLE,
    ),
    row(
        r"The (?P<name>SECRET_KEY) setting must not be empty|secret_key_base.*(?P<name2>production)|Missing `secret_key_base`",
        "The application's secret key is missing.",
        "Send it in `environment`, under the name from which the application reads it.",
    ),
    row(
        r"environment variable not found|NotPresent|(?i:missing (?:required )?environment variable)",
        "A variable of its environment is missing.",
        "Send it in `environment`; the code that stands in the log tells its name.",
    ),
    // Other services.
    row(
        r#"ECONNREFUSED (?P<address>[\w.:\[\]-]+)|connection to server at "(?P<address2>[^"]+)".*failed: Connection refused|dial tcp (?P<address3>\S+): connect: connection refused|Can't connect to (?:MySQL|MariaDB) server on '(?P<address4>[^']+)'|Error 111 connecting to (?P<address5>\S+?)\.? "#,
        "It cannot connect to `$address$address2$address3$address4$address5`: nothing listens there.",
        REACH_SERVICE,
    ),
    row(
        r#"getaddrinfo (?:ENOTFOUND|EAI_AGAIN) (?P<host>[\w.-]+)|could not translate host name "(?P<host2>[^"]+)"|lookup (?P<host3>[\w.-]+)(?: on \S+)?: (?:no such host|server misbehaving)|Unknown (?:MySQL server )?host '(?P<host4>[^']+)'|UnknownHostException: (?P<host5>[\w.-]+)"#,
        "The host `$host$host2$host3$host4$host5`, which it wants to reach, has no address in the cluster.",
        REACH_SERVICE,
    ),
    row(
        r#"relation "(?P<name>[^"]+)" does not exist|no such table: (?P<name2>\S+)|Table '(?P<name3>[^']+)' doesn't exist"#,
        "The table `$name$name2$name3` is not in its database.",
        "Run the migrations before it starts: in the command of the image, or by hand on the database.",
    ),
    row(
        r#"password authentication failed for user "(?P<user>[^"]+)"|Access denied for user '(?P<user2>[^']+)'"#,
        "The database refuses the user `$user$user2`.",
        "Send the right user and password in `environment`.",
    ),
    // Memory.
    row(
        r"JavaScript heap out of memory|java\.lang\.OutOfMemoryError|fatal error: runtime: out of memory|MemoryError$|memory allocation of \d+ bytes failed",
        "It ran out of memory.",
        "Let the application use less memory, or raise the server's `MEMORY_LIMIT`.",
    )
    .is(Cause::OutOfMemory),
    // Web frameworks that know their own name.
    row(
        r"Invalid HTTP_HOST header: '(?P<host>[^']+)'",
        "Django's `ALLOWED_HOSTS` does not have the host `$host`.",
        "Add it to `ALLOWED_HOSTS` in the settings, or let them read that from a variable and send it in `environment`.",
    ),
    row(
        r"DisallowedHost|You may need to add .* to ALLOWED_HOSTS|You must set settings\.ALLOWED_HOSTS",
        "Django's `ALLOWED_HOSTS` does not have the host by which it is called.",
        "Add it to `ALLOWED_HOSTS` in the settings, or let them read that from a variable and send it in `environment`.",
    ),
    row(
        r"Blocked hosts?: (?P<host>\S+)",
        "Rails' `config.hosts` does not have the host `$host`.",
        "Add it to `config.hosts` for the environment in which it runs.",
    ),
    row(
        r#"Blocked request\. This host \("?(?P<host>[^")]+)"?\) is not allowed"#,
        "Vite's `allowedHosts` does not have the host `$host`.",
        "Add it to `server.allowedHosts` or `preview.allowedHosts`, or serve what `vite build` makes.",
    ),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diagnosis::log;

    fn found(text: &str) -> String {
        let facts = Facts { user: Some("app".to_owned()), ..Facts::default() };
        find(&log::parse(text), &facts).map_or_else(String::new, |it| format!("{} {}", it.meaning, it.advice))
    }

    #[test]
    fn what_processes_print_is_understood() {
        let printed = [
            "/usr/bin/env: ‘bash\\r’: No such file or directory",
            "env: can't execute 'sh\r': No such file or directory",
            "/bin/sh: ./run.sh: /bin/bash^M: bad interpreter: No such file or directory",
            "exec /entrypoint.sh: no such file or directory",
            "exec /server: no such file or directory",
            "standard_init_linux.go:228: exec user process caused: no such file or directory",
            "exec /server: permission denied",
            "/server: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file or directory",
            "Error loading shared library libstdc++.so.6: No such file or directory (needed by /server)",
            "/server: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /server)",
            "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)",
            "Error: listen EACCES: permission denied 0.0.0.0:80",
            "listen tcp :80: bind: permission denied",
            "[Errno 13] error while attempting to bind on address ('0.0.0.0', 80): permission denied",
            "Error: listen EADDRINUSE: address already in use :::3000",
            "listen tcp :8080: bind: address already in use",
            "Error: EACCES: permission denied, mkdir '/app/data'",
            "PermissionError: [Errno 13] Permission denied: '/app/db.sqlite3'",
            "open /data/app.log: permission denied",
            "nginx: [emerg] mkdir() \"/var/cache/nginx/client_temp\" failed (13: Permission denied)",
            "mkdir: cannot create directory ‘/data’: Permission denied",
            "sh: can't create /data/x: Permission denied",
            "sqlite3.OperationalError: unable to open database file",
            "ModuleNotFoundError: No module named 'flask'",
            "Error: Cannot find module '/app/server.js'",
            "Error: Cannot find module 'express'",
            "FileNotFoundError: [Errno 2] No such file or directory: 'config.yaml'",
            "Error: ENOENT: no such file or directory, open '/app/config.json'",
            "open config.yaml: no such file or directory",
            "Error: Unable to access jarfile /app.jar",
            "/bin/sh: 1: gunicorn: not found",
            "/bin/sh: 1: /run.sh: not found",
            "/start.sh: line 3: node: command not found",
            "KeyError: 'DATABASE_URL'",
            "/start.sh: line 2: API_TOKEN: unbound variable",
            "Error: DATABASE_URL is not set",
            "Missing required environment variable: STRIPE_KEY",
            "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
            "Error: connect ECONNREFUSED 127.0.0.1:5432",
            "psycopg2.OperationalError: could not translate host name \"db\" to address: Name or service not known",
            "django.db.utils.OperationalError: no such table: auth_user",
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            "Invalid HTTP_HOST header: 'localhost:30000'. You may need to add 'localhost' to ALLOWED_HOSTS.",
            "KeyError: 'a'",
            "thread 'main' panicked at src/main.rs:2:5",
        ];

        insta::assert_json_snapshot!(&printed.map(found)[..]);
    }

    #[test]
    fn of_several_lines_the_last_that_is_known_counts() {
        let told = found("touch: cannot touch '/a': Permission denied\nKeyError: 'DATABASE_URL'\nbye\n");

        assert!(told.starts_with("The variable `DATABASE_URL` is missing."), "{told}");
    }

    #[test]
    fn only_a_missing_variable_is_to_be_sent() {
        for text in ["listen tcp :80: bind: permission denied", "exec /a: no such file or directory", "panic: boom"] {
            assert!(!found(text).contains("environment"), "{text}: {}", found(text));
        }
    }

    #[test]
    fn a_user_whose_name_looks_like_a_group_is_named_as_it_is() {
        let facts = Facts { user: Some("$path{user}".to_owned()), ..Facts::default() };
        let told = find(&log::parse("open /data/a: permission denied"), &facts).unwrap();

        assert!(told.meaning.contains("the user `$path{user}`"), "{}", told.meaning);
    }

    #[test]
    fn every_row_says_something_else_to_do_than_why() {
        for row in &ROWS {
            assert!(row.meaning.ends_with('.') && row.advice.ends_with('.'), "{}", row.meaning);
            assert!(!row.meaning.contains(row.advice) && !row.advice.contains(row.meaning), "{}", row.meaning);
        }
    }

    proptest! {
        #[test]
        fn no_log_is_too_strange(text in ".*(\n.*){0,5}", user in ".*") {
            let _ = find(&log::parse(&text), &Facts { user: Some(user), ..Facts::default() });
        }
    }
}
