//! What the programs of a build print when they fail -> what that means and what to do.
//!
//! One table, in the order in which its rows are looked for: what explains more comes first. `$name` in a sentence is that
//! group of the expression.

use std::sync::LazyLock;

use regex::Regex;

/// A failure that is known by what is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuildCause {
    /// What the repository, or the step, lacks.
    pub(super) reason: String,
    /// What to do.
    pub(super) advice: String,
}

/// Looks for the cause in what a step printed. `is_generated` when the repository has no Dockerfile of its own, so that it
/// is the repository that is to be changed.
pub(super) fn find(lines: &[&str], is_generated: bool) -> Option<BuildCause> {
    KNOWN.iter().find_map(|(expression, row)| {
        let found = lines.iter().find_map(|line| expression.captures(line))?;
        let filled = |template: &str| {
            let mut text = String::new();
            found.expand(template, &mut text);
            text
        };
        let advice = if is_generated && !row.generated.is_empty() { row.generated } else { row.advice };
        Some(BuildCause { reason: filled(row.reason), advice: filled(advice) })
    })
}

static KNOWN: LazyLock<Vec<(Regex, &Row)>> = LazyLock::new(|| {
    ROWS.iter().map(|row| (Regex::new(row.pattern).expect("a fixed expression is right"), row)).collect()
});

struct Row {
    pattern: &'static str,
    reason: &'static str,
    advice: &'static str,
    /// What to do where the Dockerfile was made here; empty for the same.
    generated: &'static str,
}

const fn row(pattern: &'static str, reason: &'static str, advice: &'static str) -> Row {
    Row { pattern, reason, advice, generated: "" }
}

impl Row {
    const fn generated(self, generated: &'static str) -> Self {
        Self { generated, ..self }
    }
}

const ROWS: [Row; 49] = [
    // Files that cannot be run.
    row(
        r"exec format error",
        "its base image is built for another kind of processor than this machine's",
        "take an image for this machine's processor: leave `--platform` out of FROM",
    ),
    row(
        r"env: .{0,3}(?P<program>[\w./-]+)(?:\\r|\r|\^M)|bad interpreter: (?P<path>\S+)(?:\^M|\r)|(?P<script>\S+)\^M: bad interpreter|\$'\\r': command not found",
        "a script has Windows line ends: its first line names an interpreter that ends with a carriage return",
        "save it with Unix line ends (`*.sh text eol=lf` in `.gitattributes`), or put `RUN sed -i 's/\\r$$//' FILE` before the step",
    ),
    row(
        r#"exec: "(?P<program>[^"]*/?sh)": stat .*no such file"#,
        "its base image has no shell (`$program`), which a RUN needs",
        "do the work in an earlier stage, on an image with a shell, and COPY what it makes; or write RUN in the exec form, `RUN [\"program\", \"argument\"]`",
    ),
    row(
        r"(?:sh|bash|ash|dash): (?:line )?(?:\d+: )?(?P<program>\S+): Permission denied",
        "`$program` may not be executed",
        "make it executable before the step: `RUN chmod +x $program`, or `git update-index --chmod=+x` in the repository",
    ),
    // Git.
    row(
        r"(?i)not a git repository|error obtaining VCS status|setuptools[-_]scm was unable to detect version|fatal: No names found",
        "it reads git's data, and `.git` is not in the build context",
        "let it do without (Go: `-buildvcs=false`; setuptools-scm: `SETUPTOOLS_SCM_PRETEND_VERSION`), or hand it what it asks git for as an ARG and send that in `build_args`",
    ),
    row(
        r"could not read Username for '(?P<host>[^']+)'|Permission denied \(publickey\)|Host key verification failed",
        "it fetches a private repository, and the build has no credentials for it",
        "vendor that dependency, or send a token in `build_secrets` and mount it in the step",
    ),
    row(
        r"npm (?:ERR!|error) (?:code )?(?:E401|ENEEDAUTH|E403)|401 Unauthorized|ERR_PNPM_FETCH_401",
        "a package registry asks for credentials, and the build has none",
        "take the package from a public registry, or send a token in `build_secrets` and mount it in the step",
    ),
    // The network.
    row(
        r"(?:Could not resolve host:?|getaddrinfo (?:ENOTFOUND|EAI_AGAIN)|Failed to resolve|Temporary failure resolving|dial tcp: lookup) '?(?P<host>[\w.-]+)",
        "it cannot find the address of `$host`",
        "check the name, and that the machine that builds reaches it",
    ),
    row(
        r"Temporary failure in name resolution|Failed to establish a new connection|ECONNREFUSED|Network is unreachable",
        "it cannot reach the network",
        "check that the machine that builds reaches what the step downloads from",
    ),
    row(
        r"certificate signed by unknown authority|CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT_IN_CHAIN|unable to get local issuer certificate|SSL certificate problem",
        "it does not trust the certificate of a server that it downloads from",
        "install `ca-certificates` before the step; behind a proxy that reads along, add the proxy's certificate to the image",
    ),
    // Lock files.
    row(
        r"npm (?:ERR!|error).*(?:package\.json and package-lock\.json|npm-shrinkwrap).*(?:in sync|out of sync)|can only install packages when your package\.json and package-lock\.json|npm (?:ERR!|error) Missing: (?P<name>\S+) from lock file",
        "`package-lock.json` does not fit `package.json`",
        "run `npm install` and commit `package-lock.json`",
    ),
    row(
        r"`?npm ci`? command can only install with an existing package-lock",
        "`npm ci` needs a `package-lock.json`, and there is none",
        "run `npm install` and commit `package-lock.json`",
    ),
    row(
        r"Your lockfile needs to be updated|YN0028|lockfile would have been modified by this install",
        "`yarn.lock` does not fit `package.json`",
        "run `yarn install` and commit `yarn.lock`",
    ),
    row(
        r"ERR_PNPM_(?:OUTDATED_LOCKFILE|LOCKFILE_CONFIG_MISMATCH|NO_LOCKFILE)",
        "`pnpm-lock.yaml` does not fit `package.json`",
        "run `pnpm install` and commit `pnpm-lock.yaml`",
    ),
    row(
        r"lockfile had changes, but lockfile is frozen",
        "Bun's lock file does not fit `package.json`",
        "run `bun install` and commit its lock file",
    ),
    row(
        r"poetry\.lock (?:is not up to date|was last generated)|pyproject\.toml changed significantly since poetry\.lock",
        "`poetry.lock` does not fit `pyproject.toml`",
        "run `poetry lock` and commit `poetry.lock`",
    ),
    row(
        r"Pipfile\.lock \(\w+\) out of date|Your Pipfile\.lock .*out of date",
        "`Pipfile.lock` does not fit `Pipfile`",
        "run `pipenv lock` and commit `Pipfile.lock`",
    ),
    row(
        r"lockfile at `uv\.lock` needs to be updated|Unable to find lockfile at `uv\.lock`",
        "`uv.lock` does not fit `pyproject.toml`",
        "run `uv lock` and commit `uv.lock`",
    ),
    row(
        r"(?:the lock file \S*Cargo\.lock needs to be updated|cannot update the lock file \S*Cargo\.lock)",
        "`Cargo.lock` does not fit `Cargo.toml`",
        "run `cargo update --workspace` and commit `Cargo.lock`",
    ),
    row(
        r"missing go\.sum entry.*?(?:module providing package )?(?P<name>[\w.-]+\.[\w./@-]+)|updates to go\.(?:mod|sum) needed|missing go\.sum entry",
        "`go.mod` and `go.sum` do not name all that the code needs",
        "run `go mod tidy` and commit `go.mod` and `go.sum`",
    ),
    row(
        r"no required module provides package (?P<name>[^\s;:]+)|cannot find module providing package (?P<other>[^\s;:]+)",
        "no module in `go.mod` has the package `$name$other`",
        "run `go mod tidy` and commit `go.mod` and `go.sum`",
    ),
    row(
        r"go\.mod requires go >= (?P<wanted>[\d.]+) \(running go (?P<has>[\d.]+)",
        "`go.mod` asks for Go $wanted, and the image has $has",
        "take a base image with Go $wanted, or lower the version in `go.mod`",
    ),
    // What has to be compiled.
    row(
        r"pg_config executable not found|pg_config(?:: command)? not found|Error: pg_config",
        "`psycopg2` is compiled here and needs `pg_config`, which the image lacks",
        "take `psycopg2-binary`, or install `libpq-dev` and `gcc` before the step",
    )
    .generated("take `psycopg2-binary` in the requirements, or add a Dockerfile that installs `libpq-dev` and `gcc`"),
    row(
        r"mysql_config: not found|mysql_config not found|Can not find valid pkg-config name|MYSQLCLIENT_CFLAGS",
        "`mysqlclient` is compiled here and needs MySQL's client library, which the image lacks",
        "take `PyMySQL`, or install `default-libmysqlclient-dev`, `pkg-config` and `gcc` before the step",
    )
    .generated("take `PyMySQL` in the requirements, or add a Dockerfile that installs `default-libmysqlclient-dev`, `pkg-config` and `gcc`"),
    row(
        r"gyp ERR! (?:find Python|stack Error: (?:not found: make|Could not find any Python))|node-gyp.*not found: make",
        "a package is compiled by node-gyp, which needs Python, `make` and a C++ compiler, and the image lacks them",
        "install `python3`, `make` and `g++` before the step, or take a version of the package that comes compiled",
    )
    .generated("take a version of the package that comes compiled, or add a Dockerfile that installs `python3`, `make` and `g++`"),
    row(
        r"fatal error: (?P<header>[\w./+-]+\.h(?:pp)?): No such file",
        "a package is compiled here and needs the header `$header`, which the image lacks",
        "install the package that has it (mostly named `...-dev`) before the step",
    )
    .generated("take a package that comes compiled, or add a Dockerfile that installs what has that header (mostly named `...-dev`)"),
    row(
        r#"(?:command|execute) '(?P<program>gcc|g\+\+|cc|c\+\+|clang)' failed: (?:No such file|.*not found)|unable to execute '(?P<program2>gcc|g\+\+|cc)'|linker `(?P<program3>cc)` not found|C compiler "(?P<program4>[^"]+)" not found|failed to find tool.*`?(?P<program5>cc|gcc|c\+\+)\b"#,
        "something is compiled here, and the image has no C compiler (`$program$program2$program3$program4$program5`)",
        "install one before the step (Debian: `build-essential`; Alpine: `build-base`), or take a package that comes compiled",
    )
    .generated("take a package that comes compiled, or add a Dockerfile that installs a C compiler (Debian: `build-essential`)"),
    row(
        r"(?i)could not find (?:directory of (?P<name>OpenSSL)|system library '(?P<name2>openssl)')|The system library `(?P<name3>[^`]+)` required by crate",
        "a crate needs the library `$name$name2$name3` of the system, which the image lacks",
        "install `pkg-config` and `libssl-dev` before the step, or take rustls instead",
    )
    .generated("take rustls instead of OpenSSL, or add a Dockerfile that installs `pkg-config` and the library"),
    row(
        r"(?P<package>\S+) .*requires rustc (?P<wanted>[\d.]+)|rustc (?P<has>[\d.]+) is not supported by the following",
        "its Rust is too old for a dependency",
        "take a base image with a newer Rust (`rust-toolchain.toml` names one), or an older version of the dependency",
    ),
    // What is asked for and is not there.
    row(
        r"requires a different Python: (?P<has>\S+) not in '(?P<wanted>[^']+)'",
        "a package asks for another version of Python ($wanted) than the image has ($has)",
        "take a base image with that Python",
    )
    .generated("name the version in `.python-version` or `requires-python`"),
    row(
        r"No matching distribution found for (?P<name>[^\s;]+)",
        "there is no version of `$name` for this Python and system",
        "correct its name and version in the requirements",
    ),
    row(
        r"(?:npm (?:ERR!|error) (?:code )?E?404.*?'(?P<name>[^']+)'|ERR_PNPM_FETCH_404.*?/(?P<name2>[\w%.-]+): |No matching version found for (?P<name3>\S+?)\.?$)",
        "the registry has no package `$name$name2$name3`",
        "correct its name and version in `package.json`",
    ),
    row(
        r"ERESOLVE",
        "packages ask for versions of each other that do not fit (`ERESOLVE`)",
        "change their versions in `package.json` so that they fit, or commit an `.npmrc` with `legacy-peer-deps=true`",
    ),
    row(
        r#"(?:Missing script: "?(?P<name>[\w:.-]+)|Command "(?P<name2>[\w:.-]+)" not found\.)"#,
        "`package.json` has no script `$name$name2`",
        "add it to `scripts` in `package.json`, or call one that is there",
    ),
    row(
        r#"Can't resolve '(?P<name>[^']+)'|Cannot find module '(?P<name2>[^']+)'|Could not resolve "(?P<name3>[^"]+)""#,
        "`$name$name2$name3` is not there",
        "add the package to the dependencies and commit its lock file; if it is a file, commit it, with its name as the code writes it (Linux tells capitals apart)",
    ),
    row(
        r"No module named '?(?P<name>[\w.]+)",
        "the Python module `$name` is not installed",
        "add it to the requirements",
    ),
    row(
        r"Unable to locate package (?P<name>\S+)|Package '?(?P<name2>[\w.+-]+)'? has no installation candidate",
        "apt knows no package `$name$name2`",
        "correct its name, and run `apt-get update` in the same RUN as `apt-get install`",
    ),
    row(
        r"(?P<name>\S+) \(no such package\)",
        "apk knows no package `$name`",
        "correct its name, or take an Alpine that has it",
    ),
    row(
        r"does not have a Release file|404 +Not Found \[IP",
        "the package lists of its base image are gone: it is too old",
        "take a newer version of the base image",
    ),
    // Settings that are missing.
    row(
        r"KeyError: '(?P<name>[A-Z][A-Z0-9_]+)'|(?P<name2>[A-Z][A-Z0-9_]{2,}) (?:environment variable )?(?:is not set|must be set|is required|not found in environment)|Set the (?P<name3>[A-Z][A-Z0-9_]+) environment variable|[Ee]nvironment variable not found: (?P<name4>[A-Z][A-Z0-9_]+)|The (?P<name5>SECRET_KEY) setting must not be empty|environment variable `?(?P<name6>[A-Z][A-Z0-9_]+)`? not defined",
        "it wants the variable `$name$name2$name3$name4$name5$name6`, which is not set while the image is built",
        "declare it as an ARG before the step and send it in `build_args` (a secret one in `build_secrets`), or let the code do without while it is built",
    )
    .generated("give it a default in the code for the time of the build; what is sent in `environment` is there only when it runs"),
    row(
        r"(?P<name>\w+): (?:unbound variable|parameter (?:null or )?not set)",
        "the shell's variable `$name` has no value",
        "declare `ARG $name` in this stage and send it in `build_args`, or give it a default",
    ),
    // Room.
    row(
        r"JavaScript heap out of memory|OutOfMemoryError|signal: 9, SIGKILL|Killed$|c(?:\+\+|c1plus): fatal error: Killed",
        "it ran out of memory",
        "give Docker more memory, or make the step need less (Node: `NODE_OPTIONS=--max-old-space-size=...`)",
    ),
    // Compilers and checks.
    row(
        r"error TS(?P<number>\d+): (?P<what>.+?)\.?$",
        "TypeScript refuses the code: TS$number, $what",
        "correct it, or let the build script do without the check",
    ),
    row(
        r"error\[(?P<number>E\d+)\]: (?P<what>.+)",
        "Rust refuses the code: $number, $what",
        "correct it; `cargo build --release` shows the same",
    ),
    row(
        r"Failed to execute goal (?P<goal>\S+)",
        "Maven's build failed ($goal)",
        "correct what it complains about; `mvn package` shows the same",
    ),
    row(
        r"Execution failed for task '(?P<task>[^']+)'",
        "Gradle's task `$task` failed",
        "correct what it complains about; `gradle build` shows the same",
    ),
    // A shell says that it finds no program; of a path it says the same where only the interpreter is missing.
    row(
        r"(?:^|[ /])(?:sh|bash|ash|dash|zsh): (?:line )?(?:\d+: )?(?P<program>[^\s:]*/[^\s:]+): (?:not found|No such file)",
        "a shell cannot run `$program`: the file is not in the image, or the interpreter in its first line is not (as with Windows line ends)",
        "COPY the file to there before the step, and save it with Unix line ends (`*.sh text eol=lf` in `.gitattributes`)",
    ),
    row(
        r"(?:^|[ /])(?:sh|bash|ash|dash|zsh): (?:line )?(?:\d+: )?(?P<program>[^\s:]+): (?:command )?not found|(?P<program2>\S+): command not found",
        "a shell says that it does not find the program `$program$program2`",
        "install it in an earlier step, or correct its name",
    )
    .generated("add a Dockerfile that installs `$program$program2`"),
    row(
        r#"exec: "(?P<program>[^"]+)": executable file not found|error while loading shared libraries: (?P<library>[^:]+):"#,
        "`$program$library` is not in the image",
        "install it in an earlier step, or correct its name",
    )
    .generated("add a Dockerfile that installs `$program$library`"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(line: &str, is_generated: bool) -> String {
        find(&[line], is_generated).map_or_else(String::new, |it| format!("{}; {}", it.reason, it.advice))
    }

    #[test]
    fn what_programs_print_is_understood() {
        let printed = [
            "exec /bin/sh: exec format error",
            "standard_init_linux.go:228: exec user process caused: exec format error",
            "env: ‘bash\\r’: No such file or directory",
            "/usr/bin/env: 'bash\\r': No such file or directory",
            "/bin/sh: ./setup.sh: /bin/bash^M: bad interpreter: No such file or directory",
            "/bin/sh: 1: ./gradlew: Permission denied",
            "exec: \"/bin/sh\": stat /bin/sh: no such file or directory",
            "fatal: not a git repository (or any of the parent directories): .git",
            "error obtaining VCS status: exit status 128",
            "curl: (6) Could not resolve host: example.test",
            "npm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync.",
            "npm ERR! Missing: left-pad@1.3.0 from lock file",
            "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.",
            " ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with \"frozen-lockfile\" because pnpm-lock.yaml is not up to date",
            "main.go:4:2: missing go.sum entry for module providing package github.com/gin-gonic/gin; to add:",
            "main.go:4:2: no required module provides package github.com/gin-gonic/gin; to add it:",
            "go: go.mod requires go >= 1.26 (running go 1.22.2; GOTOOLCHAIN=local)",
            "Error: pg_config executable not found.",
            "gyp ERR! find Python Python is not set from command line or npm configuration",
            "src/x.c:1:10: fatal error: Python.h: No such file or directory",
            "error: command 'gcc' failed: No such file or directory",
            "error: linker `cc` not found",
            "ERROR: No matching distribution found for no-such-thing==9",
            "npm error 404  'no-such-thing@^1.0.0' is not in this registry.",
            "npm ERR! Missing script: \"build\"",
            "E: Unable to locate package no-such-thing",
            "  no-such-thing (no such package):",
            "KeyError: 'SECRET_KEY'",
            "/bin/sh: VERSION: parameter not set",
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            "src/a.ts(1,7): error TS2322: Type 'string' is not assignable to type 'number'.",
            "/bin/sh: 1: make: not found",
            "/bin/sh: 1: /setup.sh: not found",
            "bash: line 1: foo: command not found",
            "/bin/sh: foo: not found",
            "make: stop",
        ];

        insta::assert_json_snapshot!(&printed.map(|line| found(line, false))[..]);
    }

    #[test]
    fn where_the_dockerfile_was_made_here_the_repository_is_what_is_changed() {
        let printed = [
            "Error: pg_config executable not found.",
            "gyp ERR! stack Error: not found: make",
            "KeyError: 'SECRET_KEY'",
            "/bin/sh: 1: make: not found",
        ];

        insta::assert_json_snapshot!(printed.map(|line| found(line, true)));
    }

    #[test]
    fn every_row_says_something_else_to_do_than_why() {
        for row in &ROWS {
            assert!(!row.reason.is_empty() && !row.advice.is_empty());
            assert!(!row.reason.contains(row.advice) && !row.advice.contains(row.reason), "{}", row.reason);
            assert!(!row.reason.ends_with('.') && !row.advice.ends_with('.'), "{}", row.reason);
        }
    }

    proptest! {
        #[test]
        fn no_output_is_too_strange(line in ".*") {
            let _ = find(&[line.as_str()], false);
        }
    }
}
