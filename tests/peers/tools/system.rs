//! A system on which the program finds other files, such as `/etc/hosts`.

/// The command that starts a program in a mount namespace in which these files have this content. Needs root.
pub fn seeing(files: &[(&'static str, String)]) -> Vec<String> {
    let mut command: Vec<_> = ["unshare", "--mount", "sh", "-ec"]
        .map(str::to_owned)
        .into();
    let mut script = String::new();
    for (path, content) in files {
        assert!(!content.contains('\''), "{content}");
        script += &format!(
            "file=$(mktemp); chmod 644 $file; printf '%s' '{content}' >$file; mount --bind $file {path}; rm $file\n"
        );
    }
    command.push(script + "exec \"$0\" \"$@\"");
    command
}
