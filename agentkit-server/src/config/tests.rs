//! Later layers win, all problems come at once, and secrets stay hidden.

#![expect(clippy::result_large_err, reason = "the error of these closures is figment's own")]

use figment::Jail;

use super::*;

fn load(file: Option<&str>, flags: &Flags) -> Result<Config> {
    Config::load(file.map(Path::new), flags)
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    Jail::expect_with(|jail| {
        jail.create_file("a.toml", "listen = '127.0.0.1:1'\ndata_dir = 'file'\nmodel = 'file'\n")?;
        jail.set_env("AGENTKIT_DATA_DIR", "variable");
        jail.set_env("AGENTKIT_MODEL", "variable");
        let flags = Flags { model: Some("flag".into()), ..Flags::default() };
        let config = load(Some("a.toml"), &flags).unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.data_dir, Path::new("variable"));
        assert_eq!(config.model.as_deref(), Some(Path::new("flag")));
        assert_eq!(config.limits, Limits::default());
        Ok(())
    });
}

#[test]
fn every_problem_is_told_at_once_with_its_origin() {
    Jail::expect_with(|jail| {
        jail.create_file(
            "a.toml",
            "listne = 'x'\nrequest_timeout_seconds = 0\n[chat]\nmodel = 'm'\nkey = 1\n",
        )?;
        jail.set_env("AGENTKIT_LISTEN", "nowhere");
        jail.set_env("AGENTKIT_EMBEDDER", "word2vec");
        jail.set_env("AGENTKIT_SERVICE_HOST", "10.0.0.1");
        jail.set_env("AGENTKIT_PORT_8080_TCP", "tcp://10.0.0.1");
        let error = load(Some("a.toml"), &Flags::default()).unwrap_err();
        assert!(error.is_invalid_input());
        let text = error.message();
        for part in [
            "listne: there is no such setting",
            "a.toml",
            "request_timeout_seconds: 0 is not between",
            "chat.key: there is no such setting",
            "needs both chat.base_url and chat.model",
            "listen: \"nowhere\" is not an address",
            "environment",
            "embedder:",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert_eq!(text.lines().count(), 7, "{text}");
        Ok(())
    });
}

#[test]
fn a_key_is_taken_as_it_stands_and_never_shown() {
    Jail::expect_with(|jail| {
        jail.set_env("AGENTKIT_CHAT__BASE_URL", "https://api.example.com/v1");
        jail.set_env("AGENTKIT_CHAT__MODEL", "m");
        jail.set_env("AGENTKIT_CHAT__API_KEY", "00123");
        let config = load(None, &Flags::default()).unwrap();
        let shown = format!("{config:?}{}", serde_json::json!(config.entries()));
        assert!(!shown.contains("00123") && shown.contains("[redacted]"), "{shown}");
        let Some(ChatConfig::Hosted(chat)) = config.chat else { panic!("{shown}") };
        assert_eq!(chat.api_key.unwrap().expose(), "00123");
        Ok(())
    });
    Jail::expect_with(|jail| {
        jail.create_file("a.toml", "[chat]\nbase_url = 'http://x'\nmodel = 'm'\napi_key = 987654\n")?;
        let error = load(Some("a.toml"), &Flags::default()).unwrap_err();
        assert!(error.message().contains("chat.api_key: must be a text"), "{error}");
        assert!(!error.chain().contains("987654"), "{error}");
        Ok(())
    });
}

#[test]
fn files_that_cannot_be_read_are_named() {
    Jail::expect_with(|jail| {
        assert!(load(Some("missing.toml"), &Flags::default()).unwrap_err().is_not_found());
        jail.create_file("a.toml", "listen = \n")?;
        let error = load(Some("a.toml"), &Flags::default()).unwrap_err();
        assert!(error.message().contains("a.toml"), "{error}");
        Ok(())
    });
}

#[test]
fn only_the_loopback_interface_is_served_without_authentication() {
    for (listen, allowed) in
        [("127.0.0.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", false), ("10.1.2.3:1", false)]
    {
        let config = Config { listen: listen.parse().unwrap(), ..Config::default() };
        assert_eq!(config.check_loopback().is_ok(), allowed, "{listen}");
    }
    assert_eq!(parse_listen("localhost:80").unwrap().to_string(), "127.0.0.1:80");
}

#[test]
fn a_local_chat_model_is_smollm2_unless_a_file_is_named() {
    Jail::expect_with(|jail| {
        jail.set_env("AGENTKIT_CHAT__KIND", "local");
        let of = |file: Option<&str>| {
            let config = load(None, &Flags::default()).unwrap();
            let Some(ChatConfig::Local(chat)) = &config.chat else { panic!("{config:?}") };
            assert_eq!(chat.file.as_deref(), file.map(std::path::Path::new));
            (chat.context_tokens, chat.parallel.get(), serde_json::json!(config.entries()).to_string())
        };
        let (context, parallel, shown) = of(None);
        assert_eq!((context, parallel), (None, 1));
        assert!(shown.contains("smollm2"), "{shown}");
        jail.set_env("AGENTKIT_CHAT__MODEL", "/a/b.gguf");
        jail.set_env("AGENTKIT_CHAT__CONTEXT_TOKENS", "2048");
        jail.set_env("AGENTKIT_CHAT__PARALLEL", "2");
        assert_eq!(of(Some("/a/b.gguf")).0, Some(2048));
        Ok(())
    });
}

#[test]
fn settings_of_one_kind_of_chat_model_are_refused_for_the_other() {
    for (text, expected) in [
        ("kind = 'local'\nbase_url = 'http://x'", "neither chat.base_url"),
        ("base_url = 'http://x'\nmodel = 'm'\nparallel = 2", "needs chat.kind"),
        ("context_tokens = 4096", "needs both"),
        ("kind = 'openai'", "needs both"),
        ("kind = 'cloud'", "chat.kind"),
        ("kind = 'local'\nparallel = 0", "chat.parallel"),
    ] {
        Jail::expect_with(|jail| {
            jail.create_file("a.toml", &format!("[chat]\n{text}\n"))?;
            let error = load(Some("a.toml"), &Flags::default()).unwrap_err();
            assert!(error.message().contains(expected), "{text}: {error}");
            Ok(())
        });
    }
}

#[test]
fn a_hosted_model_may_have_any_context() {
    Jail::expect_with(|jail| {
        jail.create_file("a.toml", "[chat]\nbase_url = 'http://x'\nmodel = 'm'\ncontext_tokens = 100000\n")?;
        let config = load(Some("a.toml"), &Flags::default()).unwrap();
        let Some(ChatConfig::Hosted(chat)) = &config.chat else { panic!("{:?}", config.chat) };
        assert_eq!(chat.context_tokens, Some(100_000));
        assert_eq!(crate::engine::hosted(chat).unwrap().info().context_tokens, 100_000);
        Ok(())
    });
}

#[test]
fn what_outlives_a_request_and_the_page_s_client_can_be_set() {
    Jail::expect_with(|jail| {
        let file = "kept_runs = 3\nkept_run_seconds = 4\nmax_sockets = 5\nsocket_idle_seconds = 6\n\
                    [oidc]\nissuer = 'https://login.example.com'\naudience = 'agentkit'\nclient_id = 'page'\nscope = 'openid docs'\n";
        jail.create_file("a.toml", file)?;
        let config = load(Some("a.toml"), &Flags::default()).unwrap();
        let Limits { kept_runs, kept_run_time, max_sockets, socket_idle, .. } = config.limits;
        assert_eq!((kept_runs, kept_run_time.as_secs(), max_sockets, socket_idle.as_secs()), (3, 4, 5, 6));
        let shown = serde_json::json!(config.entries()).to_string();
        for pair in [r#"["kept_runs",3]"#, r#"["oidc.client_id","page"]"#, r#"["oidc.scope","openid docs"]"#]
        {
            assert!(shown.contains(pair), "{pair}: {shown}");
        }
        jail.create_file("b.toml", "kept_runs = 257\nmax_sockets = 0\n")?;
        let error = load(Some("b.toml"), &Flags::default()).unwrap_err();
        assert_eq!(error.message().lines().count(), 3, "{error}");
        Ok(())
    });
}

/// A variable of the tests that the service took for a setting would make every other test fail.
#[test]
fn the_variables_of_the_tests_are_no_settings() {
    let table = include_str!("../../../docs/CONTRIBUTING.md");
    let rows = table.lines().filter(|line| line.starts_with("| `AGENTKIT_"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names: Vec<&str> =
        cells.flat_map(|cell| cell.split('`')).filter_map(|name| name.strip_prefix("AGENTKIT_")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(reader::is_foreign(name), "{name} is taken for a setting");
    }
}
