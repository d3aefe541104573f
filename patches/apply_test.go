//go:build unix

package patches

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// apply runs apply.sh for patches, and returns the go.mod that it made.
func apply(t *testing.T, patches ...string) (modfile string, err error) {
	t.Helper()
	cmd := exec.Command("./apply.sh")
	cmd.Env = append(os.Environ(), "PATCHES="+strings.Join(patches, " "))
	out, err := cmd.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		t.Logf("%s", failed.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

func all(t *testing.T) []string {
	t.Helper()
	patches, err := filepath.Glob("*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatal("no patches", err)
	}
	return patches
}

// TestPatchesApplyToTheVersionInUse tells of a new version of x/crypto that a patch doesn't apply to.
func TestPatchesApplyToTheVersionInUse(t *testing.T) {
	modfile, err := apply(t, all(t)...)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-modfile="+modfile, "-f", "{{.Dir}}", "golang.org/x/crypto/ssh")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := filepath.Join(filepath.Dir(modfile), "crypto", "ssh"); strings.TrimSpace(string(out)) != want {
		t.Errorf("with %s, x/crypto/ssh is that in %swant %s", modfile, out, want)
	}
}

// TestEachPatchCanBeLeftOut holds that the set can do without any of its patches.
func TestEachPatchCanBeLeftOut(t *testing.T) {
	patches := all(t)
	for i, left := range patches {
		others := append(append([]string{}, patches[:i]...), patches[i+1:]...)
		modfile, err := apply(t, others...)
		if err != nil {
			t.Errorf("without %s: %v", left, err)
			continue
		}
		if out, err := exec.Command("go", "build", "-modfile="+modfile, "golang.org/x/crypto/ssh").CombinedOutput(); err != nil {
			t.Errorf("without %s: %v\n%s", left, err, out)
		}
	}
}

func TestPatchThatDoesNotExistIsNamed(t *testing.T) {
	cmd := exec.Command("./apply.sh")
	cmd.Env = append(os.Environ(), "PATCHES=nothing.patch")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "there is no patches/nothing.patch") {
		t.Errorf("%v, %q; want a failure that names it", err, out)
	}
}

// TestPatchesAreAppliedByManyAtOnce holds that all get the same, and nothing else is left.
func TestPatchesAreAppliedByManyAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "patches"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "patches/apply.sh", "patches/10-gcm.patch"} {
		content, err := os.ReadFile(filepath.Join("..", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const many = 4
	made := make(chan string, many)
	for range many {
		go func() {
			out, err := exec.Command(filepath.Join(dir, "patches", "apply.sh")).Output()
			if err != nil {
				t.Error(err)
			}
			made <- string(out)
		}()
	}
	first := <-made
	for range many - 1 {
		if other := <-made; other != first {
			t.Errorf("got %q and %q, want the same", first, other)
		}
	}
	for _, pattern := range []string{".cache/crypto/new.*", ".cache/crypto/*/new.*"} {
		if left, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, err)
		}
	}
}
