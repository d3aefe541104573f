// Package dist holds what is installed besides the programs. There is only a test in it, of the packages made of it all.
package dist

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// run runs a program in the repository and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir = ".."
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.String())
	}
	return string(out)
}

// TestDebianPackages builds both packages, unpacks them, and starts what is in them.
func TestDebianPackages(t *testing.T) {
	out := t.TempDir()
	run(t, "make", "deb", "BIN="+out, "DEB="+filepath.Join(out, "stage"))
	for name, want := range map[string][]string{
		"culvert": {
			"usr/bin/culvert",
			"usr/lib/systemd/user/culvert.service",
			"usr/share/bash-completion/completions/culvert",
			"usr/share/doc/culvert/copyright",
			"usr/share/fish/vendor_completions.d/culvert.fish",
			"usr/share/man/man1/culvert.1.gz",
			"usr/share/man/man5/culvert_config.5.gz",
			"usr/share/zsh/vendor-completions/_culvert",
		},
		"culvertd": {
			"etc/culvert/sshd_config",
			"usr/lib/systemd/system/culvertd.service",
			"usr/lib/systemd/system/culvertd.socket",
			"usr/lib/sysusers.d/culvert.conf",
			"usr/sbin/culvertd",
			"usr/share/doc/culvertd/copyright",
			"usr/share/doc/culvertd/examples/keys-command.conf",
			"usr/share/man/man5/culvertd_config.5.gz",
			"usr/share/man/man8/culvertd.8.gz",
		},
	} {
		debs, err := filepath.Glob(filepath.Join(out, name+"_*.deb"))
		if err != nil || len(debs) != 1 {
			t.Fatalf("got %q, %v; want one package", debs, err)
		}
		root := filepath.Join(out, name)
		run(t, "dpkg-deb", "-x", debs[0], root)
		if got := files(t, root); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if got := run(t, "dpkg-deb", "-f", debs[0], "Package", "Architecture"); !strings.Contains(got, "Package: "+name+"\n") || strings.Contains(got, "$") {
			t.Errorf("got the fields %q", got)
		}
	}
	version := run(t, filepath.Join(out, "culvert/usr/bin/culvert"), "version")
	if !strings.HasPrefix(version, "culvert ") || strings.Contains(version, "unknown") {
		t.Errorf("got the version %q", version)
	}

	// The file that is installed is one that the bastion of the same package takes.
	bastion, config := filepath.Join(out, "culvertd/usr/sbin/culvertd"), filepath.Join(out, "culvertd/etc/culvert/sshd_config")
	keys := t.TempDir()
	run(t, bastion, "keygen", keys)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, bytes.ReplaceAll(text, []byte("/etc/culvert/"), []byte(keys+"/")), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, bastion, "-t", "-f", config)
	deb, err := filepath.Glob(filepath.Join(out, "culvertd_*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	control := filepath.Join(out, "control")
	run(t, "dpkg-deb", "-e", deb[0], control)
	if got, err := os.ReadFile(filepath.Join(control, "conffiles")); strings.TrimSpace(string(got)) != "/etc/culvert/sshd_config" {
		t.Errorf("got the configuration files %q, %v: an upgrade would overwrite the administrator's", got, err)
	}
	for _, script := range []string{"postinst", "prerm"} {
		run(t, "sh", "-n", filepath.Join(control, script))
	}
}

// files are the names under root, sorted.
func files(t *testing.T, root string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(root, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
