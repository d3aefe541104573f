package profile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/client"
)

// person returns somebody whose files have these texts: of a path below the home directory each.
func person(t *testing.T, files ...string) Person {
	t.Helper()
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", "")
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(home, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Person{Home: home, Name: "me"}
}

// own are the files of p without the system's, which are this machine's.
func own(p Person) string { return filepath.Join(p.Home, ".config/culvert/config") }

func load(t *testing.T, p Person) []*Profile {
	t.Helper()
	all, err := Load(p, Files(p, own(p)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func config(t *testing.T, p *Profile) *client.Config {
	t.Helper()
	c, err := p.Config(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const example = `# what all have
ServerAliveInterval 15
Include more
Tunnel payroll books
  Bastion alice@bastion:2022
  LocalForward ftp/2121 ftp.corp:21

Tunnel web-*
  Bastion ops@web.example
Tunnel web-1 web-2
  LocalForward 8080 localhost:80
Tunnel web-2
  User root
Tunnel * !web-1
  FTPActive no
  ServerAliveInterval 99
`

func TestProfilesAreWhatTheirBlocksSay(t *testing.T) {
	p := person(t, ".config/culvert/config", example,
		".config/culvert/more", "Tunnel late payroll\nBastion late\nLocalForward 9 h:9\n",
		".ssh/config", "Host bastion\nHostName 10.0.0.1\nUser nobody\nPort 1\nFTPActive forward\nHost late\nIdentityFile ~/%n\n")
	all := load(t, p)
	var got []string
	for _, profile := range all {
		c := config(t, profile)
		got = append(got, fmt.Sprintf("%s %d: %s %s@%s:%d %d %v %v", profile.Name, profile.At.Line, profile.Bastion, c.User, c.Dialled(), c.Port,
			len(c.Forwards), c.ServerAliveInterval, c.Active))
	}
	want := []string{
		"late 1: late me@late:22 1 15s 0",
		"payroll 1: late me@late:22 2 15s 0",
		"books 4: alice@bastion:2022 alice@10.0.0.1:2022 1 15s 0",
		"web-1 10: ops@web.example ops@web.example:22 1 15s 1",
		"web-2 10: ops@web.example root@web.example:22 1 15s 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if at := all[0].At.String(); at != filepath.Join(p.Home, ".config/culvert/more")+":1" {
		t.Errorf("got %s, want the place in the included file", at)
	}
	if c := config(t, all[0]); len(c.Identities) != 1 || c.Identities[0] != filepath.Join(p.Home, "late") {
		t.Errorf("got the keys %q, want that of ssh_config", c.Identities)
	}
}

func TestProfilesAreNotShared(t *testing.T) {
	p := person(t, ".config/culvert/config", example, ".config/culvert/more", "")
	profile := load(t, p)[0]
	a, b := config(t, profile), config(t, profile)
	a.Forwards[0].Port = 1
	if a == b || b.Forwards[0].Port != 2121 {
		t.Error("two configurations of a profile are one")
	}
}

func TestWhatIsWrongWithProfilesIsToldAtOnce(t *testing.T) {
	p := person(t, ".config/culvert/config", `Tunnel a b
  Port ssh
  Compression yes
  Colour blue
Tunnel a/b
Tunnel
Host x
Bastion
Bastion x y
Bastion x:y
`)
	_, err := Load(p, Files(p, own(p)))
	want := `config:5: Tunnel: "a/b" is not a name: it wants letters, digits, and ._- behind the first of them, at most 48 in all
config:6: Tunnel: it has no value: it wants names, or patterns of them
config:7: Host: blocks begin with Tunnel here: write Tunnel and patterns of names
config:8: Bastion: it has no value
config:9: Bastion: "y" is one word too many
config:10: Bastion: destination "x:y": port "y" is not a number from 1 to 65535`
	if got := strings.ReplaceAll(fmt.Sprint(err), filepath.Dir(own(p))+"/", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p = person(t, ".config/culvert/config", `Tunnel a b
  Port ssh
  LocalForward x
Tunnel b
  Compression yes
  Colour blue
Tunnel c
  Port 2
Tunnel d
  Bastion h
  FTPUpstreamTLSCAFile /nonexistent
`)
	_, err = Load(p, Files(p, own(p)))
	want = `config:5: Compression: it is ssh's, and says nothing to culvert (nothing is compressed): leave it out
config:6: Colour: there is no such keyword: culvert(1) and culvert_config(5) list those that there are`
	if got := strings.ReplaceAll(fmt.Sprint(err), filepath.Dir(own(p))+"/", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p = person(t, ".config/culvert/config", "IgnoreUnknown Col*\nTunnel a\nPort ssh\nLocalForward x\nColour blue\nTunnel c\nPort 2\nTunnel d\nBastion h\nFTPUpstreamTLSCAFile /nonexistent\n")
	_, err = Load(p, Files(p, own(p)))
	for _, want := range []string{
		`config:3: Port: port "ssh" is not a number`, `config:4: LocalForward: forward "x": `, `config:6: Tunnel c: there is no Bastion: write`,
		"config:10: FTPUpstreamTLSCAFile: open /nonexistent",
	} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v\nwant also %s", err, want)
		}
	}
}

// The only Tunnel of a file may be misspelt.
func TestFileWithoutTunnelsIsChecked(t *testing.T) {
	p := person(t, ".config/culvert/config", "Tunel a\n  Bastion h\n")
	if _, err := Load(p, Files(p, own(p))); err == nil || !strings.Contains(err.Error(), "config:1: Tunel: there is no such keyword") {
		t.Errorf("got %v, want that there is no such keyword", err)
	}
	p = person(t, ".config/culvert/config", "Tunnel *\n  Port 2222\n")
	if _, err := Load(p, Files(p, own(p))); err != nil {
		t.Errorf("defaults alone: %v", err)
	}
}

func TestFilesOfOthersAreNotRead(t *testing.T) {
	p := person(t, ".config/culvert/config", example)
	if err := os.Chmod(own(p), 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(p, Files(p, "")); err == nil || !strings.Contains(err.Error(), "may be written by others (mode 0622)") {
		t.Errorf("got %v, want an error about who may write", err)
	}
}

func TestThereMayBeNoFile(t *testing.T) {
	p := person(t)
	sources := Files(p, "")
	if got, want := sources[0].Path, own(p); got != want || sources[len(sources)-1].Path != "/etc/culvert/config" {
		t.Errorf("got %+v, want %s and /etc/culvert/config", sources, want)
	}
	if all, err := Load(p, sources[:1]); err != nil || len(all) != 0 {
		t.Errorf("got %d profiles, %v; want none", len(all), err)
	}
	if _, err := Load(p, Files(p, filepath.Join(p.Home, "none"))); err == nil {
		t.Error("a file that was named and isn't there is no error")
	}
	t.Setenv("XDG_CONFIG_HOME", "/x")
	if got := Files(p, "")[0].Path; got != "/x/culvert/config" {
		t.Errorf("got %s, want /x/culvert/config", got)
	}
}

func TestWrongFilesOfSSHAreOneProfilesMatter(t *testing.T) {
	p := person(t, ".config/culvert/config", "Tunnel a\nBastion a\nTunnel b\nBastion b\nConfigFile none\nLocalForward 1 h:1\n", ".ssh/config", "Host a\nColour blue\n")
	all := load(t, p)
	if _, err := all[0].Config(context.Background(), nil); err == nil || !strings.HasPrefix(err.Error(), "tunnel a: ") || !strings.Contains(err.Error(), ".ssh/config:2: Colour") {
		t.Errorf("got %v, want an error with tunnel, file and line", err)
	}
	config(t, all[1])
}

func TestFind(t *testing.T) {
	p := person(t, ".config/culvert/config", example, ".config/culvert/more", "")
	all := load(t, p)
	if got, err := Find(all, "web-2"); err != nil || got.Name != "web-2" {
		t.Errorf("got %v, %v; want web-2", got, err)
	}
	if _, err := Find(all, "web"); err == nil || err.Error() != `there is no tunnel "web": there are payroll, books, web-1, web-2` {
		t.Errorf("got %v, want an error with the names", err)
	}
	if _, err := Find(all, "payrol"); err == nil || err.Error() != `there is no tunnel "payrol": did you mean payroll?` {
		t.Errorf("got %v, want an error with the name that is near", err)
	}
	if _, err := Find(nil, "web"); err == nil || !strings.Contains(err.Error(), "nor any other") {
		t.Errorf("got %v, want an error that says that there are none", err)
	}
}

// TestManyProfiles: a thousand of them in one file are read in no time, and no more than that many are.
func TestManyProfiles(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "Tunnel t%d\nBastion h%d\nLocalForward 0 h:1\n", i, i)
	}
	p := person(t, ".config/culvert/config", b.String())
	if all := load(t, p); len(all) != 1000 || all[999].Bastion != "h999" {
		t.Errorf("got %d profiles, want 1000", len(all))
	}
	p = person(t, ".config/culvert/config", b.String()+"Tunnel more\n")
	if _, err := Load(p, Files(p, own(p))); err == nil || !strings.Contains(err.Error(), "more than 1000 tunnels") {
		t.Errorf("got %v, want an error about their number", err)
	}
}

// FuzzLoad holds that a profile that is loaded has a name, a place and a bastion, and comes to a configuration or an error.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{example, "Tunnel a !a *\nBastion x\n", "Bastion x\nTunnel a\nTunnel \"a\"\n", "Tunnel a\nBastion [::1]:2\nUser x\nMatch all\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if low := strings.ToLower(text); strings.Contains(low, "file") || strings.Contains(low, "include") {
			return // the files of this machine are none of the fuzzer's business
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "config")
		if err := os.WriteFile(path, []byte("ConfigFile none\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := Person{Home: dir, Name: "me"}
		all, err := Load(p, Files(p, path))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, profile := range all {
			if !validName(profile.Name) || seen[profile.Name] || profile.At.Line == 0 || profile.Bastion == "" {
				t.Fatalf("%q: got %+v", text, profile)
			}
			seen[profile.Name] = true
			if c, err := profile.unread(); err != nil || c.Host == "" {
				t.Fatalf("%q: %s: got %+v, %v", text, profile.Name, c, err)
			}
		}
	})
}
