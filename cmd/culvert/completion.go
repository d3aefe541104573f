package main

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/client"
)

// Completion works in two halves. The shell's half is a short script that hands over the words up to the cursor and puts
// what it gets where its shell wants it; the other half, here, knows culvert's tables. So a
// new flag is completed in every shell, and it is tested once.

//go:embed completions
var scripts embed.FS

// completion prints the script for a shell, or, behind "--", what the last of the words could become.
func completion(c *call) error {
	if len(c.args) > 0 && c.args[0] == "--" {
		return exitError(c.print(suggest(c.args[1:]).String()))
	}
	if len(c.args) == 1 {
		if text, err := scripts.ReadFile("completions/" + c.args[0]); err == nil {
			return exitError(c.print(string(text)))
		}
	}
	return &usageError{"culvert completion bash|zsh|fish prints what that shell reads"}
}

// suggestions are what a word could become, and what the shell itself may add.
type suggestions struct {
	lines []string // "word" or "word\texplanation"
	kinds []string // "files", "hosts", "command", "nospace"
}

func (s *suggestions) String() string {
	var b strings.Builder
	for _, l := range s.lines {
		fmt.Fprintln(&b, l)
	}
	for _, k := range s.kinds {
		fmt.Fprintln(&b, ":"+k)
	}
	return b.String()
}

// add adds word, if it begins with what is typed already.
func (s *suggestions) add(typed, word, help string) {
	if strings.HasPrefix(word, typed) {
		s.lines = append(s.lines, word+"\t"+help)
	}
}

func (s *suggestions) kind(k string) { s.kinds = append(s.kinds, k) }

// suggest completes the last of words.
func suggest(words []string) *suggestions {
	s := new(suggestions)
	if len(words) == 0 {
		return s
	}
	if cmd, ok := findCommand(words[0]); ok && len(words) > 1 {
		flags := flagSet(nil)
		if cmd.flags != nil {
			flags = cmd.flags()
		}
		s.words(flags, words[1:], func(typed string) {
			if cmd.complete != nil {
				cmd.complete(s, typed)
			}
		})
		return s
	}
	s.words(flagSet(options), words, func(typed string) {
		if len(words) == 1 {
			for _, c := range commands() {
				s.add(typed, c.name, c.help)
			}
		}
		s.kind("hosts")
	})
	return s
}

// words completes the last of words, which are flags and their arguments, or else for operand.
func (s *suggestions) words(flags *pflag.FlagSet, words []string, operand func(typed string)) {
	typed := words[len(words)-1]
	before := words[:len(words)-1]
	switch {
	case slices.Contains(before, "--"):
		s.kind("command")
		return
	case len(before) > 0:
		if f := waiting(flags, before); f != nil {
			s.argument(f, "", typed)
			return
		}
	}
	switch name, value, found := strings.Cut(typed, "="); {
	case strings.HasPrefix(typed, "--") && found:
		if f := flags.Lookup(name[2:]); f != nil {
			s.argument(f, name+"=", value)
		}
	case strings.HasPrefix(typed, "-"):
		flags.VisitAll(func(f *pflag.Flag) {
			name, usage := pflag.UnquoteUsage(f)
			usage = strings.TrimPrefix(usage, name+": ")
			if f.Shorthand != "" {
				s.add(typed, "-"+f.Shorthand, usage)
			}
			if len(f.Name) > 1 {
				s.add(typed, "--"+f.Name, usage)
			}
		})
	default:
		operand(typed)
	}
}

// waiting returns the flag whose argument the next word is, or nil.
func waiting(flags *pflag.FlagSet, before []string) *pflag.Flag {
	last := before[len(before)-1]
	if len(last) < 2 || last[0] != '-' || len(before) > 1 && waiting(flags, before[:len(before)-1]) != nil {
		return nil
	}
	if strings.HasPrefix(last, "--") {
		if f := flags.Lookup(last[2:]); f != nil && f.NoOptDefVal == "" {
			return f
		}
		return nil
	}
	for i := 1; i < len(last); i++ { // -NL: the L waits; -L2121:h:21 has its argument
		f := flags.ShorthandLookup(last[i : i+1])
		if f == nil {
			return nil
		}
		if f.NoOptDefVal == "" {
			if i == len(last)-1 {
				return f
			}
			return nil
		}
	}
	return nil
}

// argument completes what is typed of the argument of f, behind head.
func (s *suggestions) argument(f *pflag.Flag, head, typed string) {
	name, _ := pflag.UnquoteUsage(f)
	if complete := arguments[name]; complete != nil {
		complete(s, head, typed)
	}
}

// arguments say how an argument is completed, by its name in the help.
var arguments = map[string]func(s *suggestions, head, typed string){
	"Option=value": func(s *suggestions, head, typed string) {
		for _, k := range client.Keywords() {
			if len(k) >= len(typed) && strings.EqualFold(k[:len(typed)], typed) {
				s.lines = append(s.lines, head+k+"=")
			}
		}
		s.kind("nospace")
	},
	"forward": func(s *suggestions, head, typed string) {
		for _, p := range client.ForwardPrefixes() {
			if strings.HasPrefix(p, typed) {
				s.lines = append(s.lines, head+p)
			}
		}
		s.kind("nospace")
	},
	"ctl_path":    func(s *suggestions, _, _ string) { s.kind("files") },
	"provider":    func(s *suggestions, _, _ string) { s.kind("files") },
	"ssh":         func(s *suggestions, _, _ string) { s.kind("command") },
	"identity":    func(s *suggestions, _, _ string) { s.kind("files") },
	"file":        func(s *suggestions, _, _ string) { s.kind("files") },
	"destination": func(s *suggestions, _, _ string) { s.kind("hosts") },
	"host[:port]": func(s *suggestions, _, _ string) { s.kind("hosts") },
	"hosts":       func(s *suggestions, _, _ string) { s.kind("hosts") },
	"user":        nothing,
	"host:port":   nothing,
	"listen":      nothing,
	"port":        nothing,
	"address":     nothing,
	"interface":   nothing,
	"network":     nothing,
	"ciphers":     nothing,
	"macs":        nothing,
	"tag":         nothing,
}

// nothing completes what nothing is known of.
func nothing(*suggestions, string, string) {}
