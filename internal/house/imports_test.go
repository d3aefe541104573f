package house

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/culvert-ssh/culvert"

// arrows is who may import whom, as docs/architecture.md draws it. A new arrow is a decision:
// change both in the same commit.
var arrows = map[string][]string{
	"policy":     {},
	"algorithms": {},
	"ftp":        {},
	"relay":      {"processors"},
	"audit":      {},
	"hostkeys":   {},
	"krl":        {},
	"sftp":       {},
	"socks":      {},
	"sshconfig":  {},
	"peercred":   {},
	"heap":       {},
	"processors": {},
	"dist":       {},
	"patches":    {},
	"auth":       {"policy", "krl"},
	"config":     {"policy", "algorithms", "sshconfig"},
	"control":    {"ftp", "relay"},
	"ftps":       {"relay"},
	"stripe":     {"relay"},
	"mux":        {"relay", "peercred"},
	"activity":   {"relay"},
	"screen":     {},
	"environs":   {},
	"redirect":   {},
	"login":      {"relay", "sshconfig", "algorithms", "krl"},
	"client":     {"ftp", "ftps", "relay", "activity", "control", "login", "mux", "redirect", "socks", "sshconfig", "stripe"},
	"profile":    {"client", "sshconfig"},
	"standing":   {"client", "activity", "peercred"},
	"channels":   {"policy", "ftp", "ftps", "relay", "stripe", "audit", "control", "sftp"},
	"admin":      {"server", "audit", "peercred"},
	"server":     {"auth", "channels", "policy", "audit", "relay", "stripe", "algorithms"},

	"cmd/culvertd": {"config", "hostkeys", "ftps", "auth", "policy", "channels", "server", "audit", "admin", "heap", "relay", "processors"},
	"cmd/culvert":  {"client", "login", "profile", "standing", "activity", "redirect", "screen", "environs", "sshconfig", "heap", "processors"},
}

// outside are packages that look at the house from outside: they may import all of it and what tests use.
// Nobody imports them.
var outside = []string{"bench", "cmd/demo"}

// forTests are packages that only tests, and those outside, import. They know nothing of the house.
var forTests = []string{"internal/peers", "internal/stage", "internal/lan", "internal/transcript", "internal/house", "internal/e2e"}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImportsFollowTheTable(t *testing.T) {
	packages, err := list()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		allowed, known := arrows[name]
		switch {
		case slices.Contains(outside, name):
			allowed = append(rooms(), forTests...)
		case slices.Contains(forTests, name):
			allowed = forTests
		case !known:
			t.Errorf("package %s is not in the table: add it, and to docs/architecture.md", name)
			continue
		}
		for _, imported := range p.Imports {
			imported, ours := strings.CutPrefix(imported, module+"/")
			if ours && !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s; the table allows it %q", name, imported, allowed)
			}
		}
		for _, arrow := range arrows[name] {
			if !slices.Contains(p.Imports, module+"/"+arrow) {
				t.Errorf("%s doesn't import %s: take it out of the table, and of docs/architecture.md", name, arrow)
			}
		}
	}
}

// pure are the packages that only compute.
var pure = []string{"policy", "ftp", "krl", "algorithms", "socks"}

// TestPurePackagesStayPure keeps input, output and clocks out of the packages that decide.
func TestPurePackagesStayPure(t *testing.T) {
	packages, err := list()
	if err != nil {
		t.Fatal(err)
	}
	impure := []string{"net", "os", "io/ioutil", "os/exec", "syscall", "log", "log/slog", "context"}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if !slices.Contains(pure, name) {
			continue
		}
		for _, imported := range p.Imports {
			if slices.Contains(impure, imported) {
				t.Errorf("%s imports %q, and is to do no I/O", name, imported)
			}
		}
	}
}

// rooms returns the packages of the table that are not commands.
func rooms() []string {
	var names []string
	for name := range arrows {
		if !strings.HasPrefix(name, "cmd/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func list() ([]listed, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var packages []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
}
