//! Completion scripts for shells, and the names of stages that they offer.

use std::time::Duration;

use apigw_rollback::model::stage::StageRef;
use clap::CommandFactory;
use clap_complete::Shell;

use super::cli::Tool;
use super::error::{CliError, Exit};
use super::output::print;
use super::session::{Connection, Session};

/// A completion waits at most this long for AWS.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints the completion script of a shell. For bash, fish and zsh it also offers the names of stages.
pub(crate) fn script(shell: Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Tool::command(), "apigw-rollback", &mut script);
    let script = String::from_utf8_lossy(&script);
    let script = if shell == Shell::Bash {
        // The generator spells the tool's name in two ways, so that its script would not find the options of a command.
        format!("{}{BASH}", script.replace("apigw__subcmd__rollback", "apigw__rollback"))
    } else if shell == Shell::Fish {
        format!("{script}{FISH}")
    } else if shell == Shell::Zsh {
        with_stages_in_zsh(&script)
    } else {
        script.into_owned()
    };
    print(&script)?;
    Ok(Exit::DONE)
}

/// Prints the stages of the settings, one per line. Silent about every error: a completion must not disturb the shell.
pub(crate) async fn stages(words: &[String]) -> Exit {
    let connection = Connection::of_words(words);
    let session = tokio::time::timeout(PATIENCE, Session::open(&connection)).await;
    if let Ok(Ok(session)) = session {
        let stages = session.config().stages.iter();
        let names: Vec<String> = stages.map(|one| name(&one.api_name, &one.stage)).collect();
        let names = names.join("\n") + "\n";
        let _ = print(&names);
    }
    Exit::DONE
}

/// Returns the name under which an operator would look for a stage. A name with spaces would need quotes.
fn name(api_name: &str, stage: &StageRef) -> String {
    let is_word =
        !api_name.is_empty() && api_name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let api = if is_word { api_name } else { &stage.api };
    format!("{api}/{}", stage.stage)
}

/// Offers the stages where a stage is the next word, in place of the options, which need a `-`.
const BASH: &str = r#"
_apigw__rollback_with_stages() {
    _apigw__rollback "$@"
    local word="${COMP_WORDS[COMP_CWORD]}" first=2 reply others=()
    case "${COMP_WORDS[1]}" in
        announce|doctor|history|hold|incidents|lift|open|plan|promote|record|release-hold|rollback|status|watch) ;;
        policy) first=3 ;;
        *) return ;;
    esac
    if [[ ${COMP_CWORD} -lt ${first} || "${word}" == -* || "${COMP_WORDS[COMP_CWORD-1]}" == --* ]]; then
        return
    fi
    for reply in "${COMPREPLY[@]}"; do
        [[ "${reply}" == -* ]] || others+=("${reply}")
    done
    COMPREPLY=("${others[@]}" $(compgen -W "$(apigw-rollback complete-stages -- "${COMP_WORDS[@]}" 2>/dev/null)" -- "${word}"))
}
complete -F _apigw__rollback_with_stages -o nosort -o bashdefault -o default apigw-rollback 2>/dev/null ||
    complete -F _apigw__rollback_with_stages -o bashdefault -o default apigw-rollback
"#;

const FISH: &str = r#"
complete -c apigw-rollback -n "__fish_seen_subcommand_from announce doctor get history hold incidents lift open plan promote record release-hold rollback set status watch" -f -a "(apigw-rollback complete-stages -- (commandline -opc) 2>/dev/null)"
"#;

/// Offers the stages where the generated script offers files for a stage.
fn with_stages_in_zsh(script: &str) -> String {
    let offers = |line: &str| {
        if line.contains("The stage") && line.contains(":_default") {
            line.replace(":_default", ":_apigw-rollback_stages")
        } else {
            line.to_owned()
        }
    };
    let lines: Vec<String> = script.lines().map(offers).collect();
    let function = r#"(( $+functions[_apigw-rollback_stages] )) ||
_apigw-rollback_stages() {
    local -a stages
    stages=(${(f)"$(apigw-rollback complete-stages -- $words 2>/dev/null)"})
    compadd -a stages
}
"#;
    // The first line tells zsh the command, and the last one calls the script's own function.
    match lines.split_first() {
        Some((first, rest)) => format!("{first}\n\n{function}{}\n", rest.join("\n")),
        None => String::new(),
    }
}
