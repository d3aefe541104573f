package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/config"
)

// passwdOptions are the command line of culvertd passwd. Without a letter that says otherwise, a password is set.
type passwdOptions struct {
	file                 string
	remove, lock, unlock bool
	totp, noTOTP, list   bool
	groups               string
	setGroups            bool
}

// passwd keeps the accounts: culvertd passwd [-d | -l | -u | --totp | --no-totp | --groups a,b] [-f password_file] user, or
// culvertd passwd --list.
func (p program) passwd(args []string) error {
	var (
		o          passwdOptions
		configFile string
	)
	f := newFlags("passwd")
	f.StringVarP(&o.file, "file", "f", "", "")
	f.StringVarP(&configFile, "config", "c", defaultConfig, "")
	f.BoolVarP(&o.remove, "delete", "d", false, "")
	f.BoolVarP(&o.lock, "lock", "l", false, "")
	f.BoolVarP(&o.unlock, "unlock", "u", false, "")
	f.BoolVar(&o.totp, "totp", false, "")
	f.BoolVar(&o.noTOTP, "no-totp", false, "")
	f.BoolVar(&o.list, "list", false, "")
	f.StringVar(&o.groups, "groups", "", "")
	if err := p.parse(f, args); err != nil {
		return err
	}
	o.setGroups = f.Changed("groups")
	if err := o.check(f.Args()); err != nil {
		return &usageError{err.Error()}
	}
	if o.file == "" {
		loaded, err := config.Load(configFile, nil)
		if err != nil {
			return fmt.Errorf("look for PasswordFile: %w", err)
		}
		if o.file = loaded.Config.Global().PasswordFile; o.file == "" {
			return fmt.Errorf("%s names no PasswordFile: name one there, or with -f", configFile)
		}
	}
	if o.list {
		return p.listAccounts(o.file)
	}
	return p.changeAccount(o, f.Arg(0))
}

func (o passwdOptions) check(args []string) error {
	asked := 0
	for _, set := range []bool{o.remove, o.lock, o.unlock, o.totp, o.noTOTP, o.list, o.setGroups} {
		if set {
			asked++
		}
	}
	switch {
	case asked > 1:
		return errors.New("passwd does one thing at a time: -d, -l, -u, --totp, --no-totp, --groups or --list")
	case o.list && len(args) > 0:
		return errors.New("passwd --list wants no user")
	case o.list:
		return nil
	case len(args) != 1:
		return errors.New("passwd wants a user")
	}
	if _, err := auth.ParseGroups(o.groups); err != nil {
		return err
	}
	return auth.ValidUser(args[0])
}

// changeAccount does the one thing that was asked for.
func (p program) changeAccount(o passwdOptions, user string) error {
	switch {
	case o.remove:
		return auth.DeletePassword(o.file, user)
	case o.lock, o.unlock:
		return auth.SetLocked(o.file, user, o.lock)
	case o.totp:
		return p.newSecret(o.file, user)
	case o.noTOTP:
		return auth.SetSecret(o.file, user, "")
	case o.setGroups:
		groups, err := auth.ParseGroups(o.groups)
		if err != nil {
			return err
		}
		return auth.SetGroups(o.file, user, groups)
	}
	password, err := p.readPassword(user)
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	return auth.SetPassword(o.file, user, password)
}

// newSecret makes the secret of one-time codes and shows it. On a terminal it is kept only after a code
// has shown that it arrived.
func (p program) newSecret(file, user string) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name this bastion: %w", err)
	}
	secret, err := auth.NewSecret(host, user)
	if err != nil {
		return err
	}
	code, err := qrCode(secret.URL)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "%s\n%s\nsecret %s\n", code, secret.URL, secret.Text); err != nil {
		return err
	}
	if term.IsTerminal(int(p.stdin.Fd())) {
		if err := confirm(secret, p.askForCode, time.Now); err != nil {
			return err
		}
	}
	return auth.SetSecret(file, user, secret.Text)
}

// maxCodes is how often a code may be mistyped.
const maxCodes = 3

func confirm(secret auth.Secret, ask func() (string, error), now func() time.Time) error {
	for range maxCodes {
		code, err := ask()
		if err != nil {
			return fmt.Errorf("read one-time code: %w", err)
		}
		if secret.Matches(strings.TrimSpace(code), now()) {
			return nil
		}
	}
	return errors.New("no code was the secret's: nothing is changed. Are the clocks right?")
}

// askForCode reads a line from a terminal.
func (p program) askForCode() (string, error) {
	fmt.Fprint(p.stderr, "Scan it, and type the code that is shown: ")
	return readLine(p.stdin)
}

// readLine reads a line byte by byte, as what stands behind it may be the next one's to read.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < 256; {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	return string(line), nil
}

// listAccounts shows what a file says, but for what is secret.
func (p program) listAccounts(file string) error {
	accounts, err := auth.ListAccounts(file)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "USER\tSTATE\tPASSWORD\tTOTP\tGROUPS")
	for _, a := range accounts {
		state, groups := "open", strings.Join(a.Groups, ",")
		if a.Locked {
			state = "locked"
		}
		switch {
		case !a.OwnGroups():
			groups = "(system's)"
		case groups == "":
			groups = "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Name, state, yesNo(a.HasPassword()), yesNo(a.HasCode()), groups)
	}
	return w.Flush() // and what could not be written shows here
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
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
