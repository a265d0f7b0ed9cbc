//! A clone: the repository of the request, the submodules in it, and the files that they keep in Git LFS.

use std::path::Path;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::tool::git::clone::job::{CloneContext, CloneJob};
use crate::tool::git::{Checkout, Git, GitError, RepositorySource, Resolved};
use crate::tool::step_calls::StepCalls;

mod job;
mod lfs;
mod submodules;

impl Git {
    /// Brings the working tree of one commit into `directory`, as shallow as the host allows, with its submodules.
    ///
    /// A clone of the same repository that is there is used again; anything else in `directory` is removed. All that it
    /// holds stays within one size and one time together.
    /// `calls` are those of the step (see [`crate::tool::Call::run_durably`]); their folder lies outside `directory`.
    ///
    /// # Errors
    /// [`GitError`] says what is wrong with the repository, its host or the commit. A submodule that cannot be had is none:
    /// whether it is needed is known to whoever knows what is built.
    pub async fn clone(
        &self,
        source: &RepositorySource<'_>,
        resolved: &Resolved,
        directory: &Path,
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Checkout, GitError> {
        self.check_allowed(source.url)?;
        self.upload_ca_bundle().await?;
        let deadline = Instant::now() + self.clone_timeout;
        let cx = CloneContext { git: self, root: directory, calls, deadline, lines, cancel };
        let (git_dir, work_tree) = (directory.join(".git"), directory.to_owned());
        let job = CloneJob { cx: &cx, source: *source, commit: &resolved.commit, git_dir, work_tree };
        job.run(resolved).await?;
        let checkout = submodules::complete(&cx, source, &resolved.commit).await?;
        Ok(Checkout { summary: job.summary().await, ..checkout })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{World, write};
    use super::*;
    use crate::id::CommitId;
    use crate::tool::program_error::ProgramError as _;

    #[tokio::test]
    async fn a_clone_holds_the_files_of_its_commit_and_nothing_else() {
        let world = World::new().await;
        let first = world.commit("page", "1").await;
        let second = world.commit("page", "2").await;

        let checkout = world.clone(&first).await.unwrap();
        assert_eq!(checkout.commit, first);
        assert_eq!(checkout.summary.unwrap().subject, "a change");
        assert_eq!(world.cloned("page").as_deref(), Some("1"));
        write(&world.path("clone/page"), "changed");
        write(&world.path("clone/extra"), "left over");
        assert_eq!(world.clone(&second).await.unwrap().commit, second);
        assert_eq!((world.cloned("page").as_deref(), world.cloned("extra")), (Some("2"), None));
    }

    #[tokio::test]
    async fn a_clone_that_has_the_commit_is_not_fetched_again() {
        let world = World::new().await;
        let commit = world.commit("page", "1").await;
        world.clone(&commit).await.unwrap();

        std::fs::rename(world.path("app/.git"), world.path("app/gone")).unwrap();

        assert_eq!(world.clone(&commit).await.unwrap().commit, commit);
    }

    #[tokio::test]
    async fn a_broken_clone_and_one_of_another_repository_are_made_again() {
        let world = World::new().await;
        let commit = world.commit("page", "1").await;
        std::fs::create_dir_all(world.path("clone/.git")).unwrap();
        write(&world.path("clone/stale"), "half made");
        world.clone(&commit).await.unwrap();
        assert_eq!(world.cloned("stale"), None);

        for pack in std::fs::read_dir(world.path("clone/.git/objects/pack")).unwrap() {
            std::fs::remove_file(pack.unwrap().path()).unwrap();
        }
        std::fs::remove_dir_all(world.path("clone/.git/objects")).unwrap();
        world.clone(&commit).await.unwrap();
        assert_eq!(world.cloned("page").as_deref(), Some("1"));

        std::fs::rename(world.path("app"), world.path("moved")).unwrap();
        world.clone_of(&world.url("moved"), &commit).await.unwrap();
        assert!(world.cloned(".git/config").unwrap().contains("/moved"));
    }

    #[tokio::test]
    async fn a_clone_that_lacks_a_directory_or_a_file_of_the_commit_is_fetched_again() {
        let world = World::new().await;
        std::fs::create_dir(world.path("app/folder")).unwrap();
        let commit = world.commit("folder/page", "1").await;
        for lacking in [format!("{commit}^{{tree}}"), format!("{commit}:folder"), format!("{commit}:folder/page")] {
            world.clone(&commit).await.unwrap();
            let object = world.git_in("clone", &["rev-parse", &lacking]).await;
            let (folder, file) = object.split_at(2);
            std::fs::remove_file(world.path(&format!("clone/.git/objects/{folder}/{file}"))).unwrap();

            world.clone(&commit).await.unwrap();

            assert_eq!(world.cloned("folder/page").as_deref(), Some("1"), "{lacking}");
        }
    }

    #[tokio::test]
    async fn a_repository_above_the_limit_is_not_kept_on_being_fetched() {
        let mut world = World::new().await;
        let commit = world.commit("page", &"all of this is a lot of text\n".repeat(10_000)).await;
        world.settings.git.clone_max_bytes = 50_000;

        let error = world.clone(&commit).await.unwrap_err();

        assert!(matches!(error, GitError::TooLarge { limit_bytes: 50_000, .. }), "{error}");
        assert!(error.next_step().contains("`CLONE_MAX_BYTES`"));
    }

    #[tokio::test]
    async fn a_commit_that_is_not_there_is_said_to_be_missing() {
        let world = World::new().await;
        world.commit("page", "1").await;

        let error = world.clone(&CommitId::parse("1".repeat(40)).unwrap()).await.unwrap_err();

        assert_eq!(error.code(), "git_ref_not_found");
    }

    #[tokio::test]
    async fn a_repository_cannot_run_anything_here() {
        let world = World::new().await;
        world.commit(".gitattributes", "* filter=evil\n").await;
        let commit = world.commit(".gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = ext::touch /\n").await;
        world.clone(&commit).await.unwrap();
        let mark = world.path("mark");
        let hook = world.path("clone/.git/hooks/post-checkout");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        crate::tool::write_executable(&hook, &format!("#!/bin/sh\ntouch {}\n", mark.display()));

        world.clone(&commit).await.unwrap();

        assert!(!mark.exists());
    }

    #[tokio::test]
    async fn submodules_come_with_their_own_three_deep() {
        let world = World::new().await;
        for name in ["one", "two", "three", "four"] {
            world.init(name).await;
        }
        let four = world.commit_in("four", "page", "4").await;
        world.commit_in("three", "page", "3").await;
        let three = world.commit_submodules("three", &[("four", "../four", &four)]).await;
        world.commit_in("two", "page", "2").await;
        let two = world.commit_submodules("two", &[("deep/three", "../three", &three)]).await;
        world.commit_in("one", "page", "1").await;
        let one = world.commit_submodules("one", &[("two", "../two", &two)]).await;
        let address = world.url("one").to_string();
        let commit = world.commit_submodules("app", &[("libs/one", &address, &one)]).await;

        let checkout = world.clone(&commit).await.unwrap();

        assert_eq!(checkout.submodules, ["libs/one", "libs/one/two", "libs/one/two/deep/three"]);
        assert_eq!(world.cloned("libs/one/page").as_deref(), Some("1"));
        assert_eq!(world.cloned("libs/one/two/deep/three/page").as_deref(), Some("3"));
        let missing = &checkout.missing[0];
        assert_eq!((checkout.missing.len(), missing.path.as_str()), (1, "libs/one/two/deep/three/four"));
        assert!(
            missing
                .failure
                .message
                .ends_with("cannot be fetched: submodules are fetched 3 deep in one another and no deeper")
        );
    }

    #[tokio::test]
    async fn a_clone_that_is_used_again_follows_its_submodules() {
        let world = World::new().await;
        world.init("lib").await;
        let old = world.commit_in("lib", "page", "old").await;
        let new = world.commit_in("lib", "page", "new").await;
        let first = world.commit_submodules("app", &[("a", "../lib", &old), ("b", "../lib", &old)]).await;
        let second = world.commit_submodules("app", &[("a", "../lib", &new)]).await;
        let third = world.commit("a", "a file").await;

        world.clone(&first).await.unwrap();
        assert_eq!((world.cloned("a/page"), world.cloned("b/page")), (Some("old".into()), Some("old".into())));
        write(&world.path("clone/a/page"), "changed");
        write(&world.path("clone/a/extra"), "left over");
        world.clone(&second).await.unwrap();
        assert_eq!(
            (world.cloned("a/page"), world.cloned("a/extra"), world.cloned("b/page")),
            (Some("new".into()), None, None)
        );
        assert_eq!(world.clone(&third).await.unwrap().submodules, Vec::<String>::new());
        assert_eq!(world.cloned("a").as_deref(), Some("a file"));
        world.clone(&first).await.unwrap();
        assert_eq!(world.cloned("a/page").as_deref(), Some("old"));
    }

    #[tokio::test]
    async fn a_submodule_that_cannot_be_had_is_named_with_what_to_do() {
        let world = World::new().await;
        world.init("lib").await;
        let lib = world.commit_in("lib", "page", "1").await;
        let gone = CommitId::parse("1".repeat(40)).unwrap();
        let submodules = [
            ("gone", "../lib", &gone),
            ("elsewhere", "https://git.elsewhere.test/a/b", &lib),
            ("local", "/srv/git/lib", &lib),
            ("nowhere", "../nowhere", &lib),
            ("here", "../lib", &lib),
        ];
        let commit = world.commit_submodules("app", &submodules).await;
        std::fs::create_dir_all(world.path("clone")).unwrap();

        let checkout = world.clone(&commit).await.unwrap();

        let told: Vec<(&str, String)> = checkout
            .missing
            .iter()
            .map(|it| (it.path.as_str(), format!("{}. {}.", it.failure.message, it.failure.next_step)))
            .map(|(path, text)| (path, text.replace(&world.path("").display().to_string(), "/world/")))
            .collect();
        insta::assert_debug_snapshot!(told);
        assert_eq!((checkout.submodules, world.cloned("here/page").as_deref()), (vec!["here".to_owned()], Some("1")));
    }

    #[tokio::test]
    async fn a_submodule_that_is_gone_leaves_nothing_of_itself_behind() {
        let world = World::new().await;
        world.init("lib").await;
        let lib = world.commit_in("lib", "page", "1").await;
        let first = world.commit_submodules("app", &[("a", "../lib", &lib)]).await;
        world.clone(&first).await.unwrap();
        world.git(&["rm", "--quiet", "--cached", ".gitmodules"]).await;
        world.git(&["commit", "--quiet", "--message", "no addresses"]).await;
        let second = CommitId::parse(world.git(&["rev-parse", "HEAD"]).await).unwrap();
        let third = world.commit_submodules("app", &[("a", "../other", &lib)]).await;

        let without_address = world.clone(&second).await.unwrap();
        assert_eq!((without_address.without_address, world.cloned("a/page")), (vec!["a".to_owned()], None));
        world.clone(&first).await.unwrap();
        assert_eq!((world.clone(&third).await.unwrap().missing.len(), world.cloned("a/page")), (1, None));
        assert!(world.path("clone/a").is_dir());
    }

    #[tokio::test]
    async fn a_clone_and_its_submodules_have_one_size() {
        let mut world = World::new().await;
        world.init("lib").await;
        let lib = world.commit_in("lib", "page", &"all of this is a lot of text\n".repeat(10_000)).await;
        let commit = world.commit_submodules("app", &[("libs/lib", "../lib", &lib)]).await;
        world.settings.git.clone_max_bytes = 100_000;

        let error = world.clone(&commit).await.unwrap_err();

        assert_eq!(
            (error.code(), error.to_string()),
            ("repository_too_large", "the submodule `libs/lib` cannot be fetched".into())
        );
        assert!(error.failure().message.contains("/lib` takes more than 1 MiB"), "{}", error.failure().message);
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_a_submodule_leads_nowhere() {
        let world = World::new().await;
        world.init("lib").await;
        let lib = world.commit_in("lib", "page", "1").await;
        std::fs::create_dir(world.path("target")).unwrap();
        world.commit_submodules("app", &[("a", "../lib", &lib)]).await;
        // No git makes such a tree: one name twice, as a link and as a submodule.
        let modules = world.git(&["rev-parse", "HEAD:.gitmodules"]).await;
        std::fs::write(world.path("app/place"), world.path("target").display().to_string()).unwrap();
        let link = world.git(&["hash-object", "-w", "place"]).await;
        let tree = format!("100644 blob {modules}\t.gitmodules\n120000 blob {link}\ta\n160000 commit {lib}\ta\n");
        write(&world.path("app/tree"), &tree);
        let tree = world.git(&["-c", "alias.tree=!git mktree <tree", "tree"]).await;
        let commit = world.git(&["commit-tree", "-m", "a trick", &tree]).await;
        world.git(&["update-ref", "refs/heads/main", &commit]).await;

        let cloned = world.clone(&CommitId::parse(commit).unwrap()).await;

        assert_eq!(std::fs::read_dir(world.path("target")).unwrap().count(), 0, "{cloned:?}");
    }

    #[tokio::test]
    async fn files_of_lfs_have_their_contents_where_git_lfs_is_installed() {
        let world = World::new().await;
        let oid = "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac";
        let objects = world.path("app/.git/lfs/objects/73/cb");
        std::fs::create_dir_all(&objects).unwrap();
        write(&objects.join(oid), "x\n");
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 2\n");
        write(&world.path("app/.gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n");
        // An address that a repository names itself is not asked.
        write(&world.path("app/.lfsconfig"), "[lfs]\n\turl = https://git.elsewhere.test/a\n");
        write(&world.path("app/pointer.txt"), &pointer);
        let commit = world.commit("a.bin", &pointer).await;

        let lfs = world.clone(&commit).await.unwrap().lfs;

        let (contents, is_installed) = (world.cloned("a.bin").unwrap(), lfs.fetched == 1);
        let expected = if is_installed { "x\n" } else { pointer.as_str() };
        assert_eq!((contents.as_str(), lfs.fetched + lfs.pointers), (expected, 1), "{lfs:?}");
        assert_eq!(lfs.first.as_deref(), (!is_installed).then_some("a.bin"));
        assert_eq!(world.clone(&commit).await.unwrap().lfs, lfs);
    }
}
