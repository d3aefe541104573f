package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// shells are those that completion is for, and how each is started and told of it. $CULVERT is the program, $ROOT is where a shell may be that
// isn't installed.
var shells = []struct {
	name, start string
	setup       []string
}{
	{"bash", "bash --norc --noprofile -i", []string{`. <($CULVERT completion bash)`}},
	{"zsh", "zsh -f -i", []string{
		`module_path+=($ROOT/usr/lib/*/zsh/*(N)); fpath+=($ROOT/usr/share/zsh/functions/**/*(/N))`,
		`autoload -Uz compinit && compinit -u -D`, `. <($CULVERT completion zsh)`,
	}},
	{"fish", "fish --private --no-config -i", []string{`set -p fish_function_path $ROOT/usr/share/fish/functions`, `$CULVERT completion fish | source`}},
}

// TestShellsCompleteWords types into real shells on a terminal, with a Tab where ^ is here.
func TestShellsCompleteWords(t *testing.T) {
	program, err := exec.LookPath("culvert")
	if err != nil {
		t.Fatal(err)
	}
	// It says with which words it was run.
	shown := t.TempDir()
	wrapper := "#!/bin/sh\n[ \"$1\" = completion ] && [ \"$2\" = -- ] && exec " + program + " \"$@\"\nprintf 'ran:'; printf '<%s>' \"$@\"; echo\n"
	if err := os.WriteFile(filepath.Join(shown, "culvert"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	here := t.TempDir()
	if err := os.WriteFile(filepath.Join(here, "id_of_mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			path, err := peers.Find(shell.name)
			if err != nil {
				t.Fatal(err)
			}
			start := filepath.Dir(path) + "/" + shell.start
			c, err := peers.StartConsole(ctx, "script", "-qec", start, "/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			set := "export %s='%s'"
			if shell.name == "fish" {
				set = "set -x %s '%s'"
			}
			for name, value := range map[string]string{
				"CULVERT": program, "ROOT": filepath.Join(filepath.Dir(path), "../root"), "TERM": "dumb", "PATH": shown + ":" + os.Getenv("PATH"),
			} {
				c.Type(fmt.Sprintf(set, name, value))
			}
			c.Type("cd " + here)
			for _, line := range shell.setup {
				c.Type(line)
			}
			c.Type("echo is rea''dy")
			if err := c.Await(ctx, "is ready"); err != nil {
				t.Fatal(err)
			}
			for typed, want := range map[string]string{
				"vers^":                                 "<version>",
				"completion fi^":                        "<completion><fish>",
				"-o FTPActiveA^10.0.0.1":                "<-o><FTPActiveAddress=10.0.0.1>",
				"-oBatchMode=yes -N -o IdentitiesO^yes": "<-oBatchMode=yes><-N><-o><IdentitiesOnly=yes>",
				"-L ftps^2121:h:21":                     "<-L><ftps/2121:h:21>",
				"-NL ftps^2122:h:21":                    "<-NL><ftps/2122:h:21>",
				"-i id_of^":                             "<-i><id_of_mine>",
			} {
				c.Type("culvert " + strings.ReplaceAll(typed, "^", "\t"))
				if err := c.Await(ctx, "ran:"+want+"\r?\n"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestWhatAFlagTakesIsCompleted holds that the name of each argument in the help is one that completion has thought of.
func TestWhatAFlagTakesIsCompleted(t *testing.T) {
	sets := []*pflag.FlagSet{flagSet(options)}
	for _, c := range commands() {
		if c.flags != nil {
			sets = append(sets, c.flags())
		}
	}
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) {
			if f.NoOptDefVal != "" {
				return
			}
			if name, _ := pflag.UnquoteUsage(f); arguments[name] == nil {
				t.Errorf("the argument of -%s is called %q, about which completion.go's arguments know nothing", f.Name, name)
			}
			if f.Usage == "" {
				t.Errorf("-%s has no help", f.Name)
			}
		})
	}
}

func TestSuggestions(t *testing.T) {
	for words, want := range map[string]string{
		"":                 "",
		"vers":             "version\twhich culvert this is\n:hosts\n",
		"version -":        "--json\tfor programs\n",
		"host vers":        ":hosts\n",
		"-p":               "-p\tof the SSH server\n",
		"-p ":              "",
		"-p 22 vers":       ":hosts\n",
		"-NL -":            ":nospace\n", // a forward
		"-L2121:h:21 vers": ":hosts\n",
		"-o batchm":        "BatchMode=\n:nospace\n",
		"--nonsense=":      "",
		"-Z vers":          ":hosts\n",
	} {
		var in []string
		if words != "" {
			in = strings.Split(words, " ")
		}
		if got := suggest(in).String(); got != want {
			t.Errorf("%q: got %q, want %q", words, got, want)
		}
	}
}
