package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/config"
)

// passwd sets or deletes a password: culvertd passwd [-d] [-f password_file] user.
func (p program) passwd(args []string) error {
	var (
		file, configFile string
		remove           bool
	)
	f := newFlags("passwd")
	f.StringVarP(&file, "file", "f", "", "")
	f.StringVarP(&configFile, "config", "c", defaultConfig, "")
	f.BoolVarP(&remove, "delete", "d", false, "")
	if err := f.Parse(args); err != nil {
		return &usageError{err.Error()}
	}
	if f.NArg() != 1 {
		return &usageError{"passwd wants a user"}
	}
	user := f.Arg(0)
	if err := auth.ValidUser(user); err != nil {
		return &usageError{err.Error()}
	}
	if file == "" {
		loaded, err := config.Load(configFile, nil)
		if err != nil {
			return fmt.Errorf("look for PasswordFile: %w", err)
		}
		if file = loaded.Config.Global().PasswordFile; file == "" {
			return fmt.Errorf("%s names no PasswordFile: name one there, or with -f", configFile)
		}
	}
	if remove {
		return auth.DeletePassword(file, user)
	}
	password, err := p.readPassword(user)
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	return auth.SetPassword(file, user, password)
}

// readPassword asks twice on a terminal, without echo; otherwise it reads one line.
func (p program) readPassword(user string) (string, error) {
	fd := int(p.stdin.Fd())
	if !term.IsTerminal(fd) {
		// A password has at most 1 KiB; SetPassword says so to who wrote more.
		line, err := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(p.stderr, prompt)
		word, err := term.ReadPassword(fd)
		fmt.Fprintln(p.stderr)
		return string(word), err
	}
	first, err := ask(fmt.Sprintf("New password for %s: ", user))
	if err != nil {
		return "", err
	}
	second, err := ask("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two are not the same")
	}
	return first, nil
}
