package environs

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Proxies are where a command's connections go.
type Proxies struct {
	FTP   netip.AddrPort // whose clients name the server when they log in
	SOCKS netip.AddrPort // that follows FTP
}

// own are variables for programs that are told by hand.
const (
	ownFTP   = "CULVERT_FTP_PROXY"
	ownSOCKS = "CULVERT_SOCKS_PROXY"
)

// Make returns the environment, made of that of this process, and writes the files that it names to folder, which must be private: there may
// be passwords in them. Home is the person's; if it is empty, there are no files of theirs.
func Make(folder, home string, environ []string, p Proxies) ([]string, error) {
	m := &maker{folder: folder, home: home, environ: environ, Proxies: p}
	for _, client := range []func() error{m.curl, m.wget, m.lftp, m.ncftp} {
		if err := client(); err != nil {
			return nil, fmt.Errorf("configure FTP clients: %w", err)
		}
	}
	proxy := "ftp://" + p.FTP.String()
	m.set("ftp_proxy", proxy) // Python's urllib, and all below that aren't given files
	m.set("FTP_PROXY", proxy)
	m.set("FTPSERVER", p.FTP.Addr().String()) // gate-ftp
	m.set("FTPSERVERPORT", fmt.Sprint(p.FTP.Port()))
	m.set(ownFTP, p.FTP.String())
	m.set(ownSOCKS, p.SOCKS.String())
	return append(m.kept(), m.added...), nil
}

// maker has what has been made so far.
type maker struct {
	Proxies
	folder, home string
	environ      []string
	added        []string
}

// exempting name hosts that no proxy is asked for, by names that mean others at the bastion.
var exempting = []string{"no_proxy", "NO_PROXY"}

// kept is what of the environment is neither replaced nor against it.
func (m *maker) kept() []string {
	return slices.DeleteFunc(slices.Clone(m.environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(exempting, name) || slices.ContainsFunc(m.added, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	})
}

func (m *maker) set(name, value string) { m.added = append(m.added, name+"="+value) }

func (m *maker) env(name string) string {
	for _, entry := range slices.Backward(m.environ) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// first returns the first of the person's files or folders that is there, or nothing. A name that begins with nothing, as that of a variable
// which isn't set, is none.
func (m *maker) first(paths ...string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil && filepath.IsAbs(path) {
			return path
		}
	}
	return ""
}

// under is a path in a folder that a variable names, or nothing if it isn't set.
func (m *maker) under(variable, path string) string {
	if folder := m.env(variable); folder != "" {
		return filepath.Join(folder, path)
	}
	return ""
}

// atHome is a path in the person's home, or nothing if there is none.
func (m *maker) atHome(path string) string {
	if m.home == "" {
		return ""
	}
	return filepath.Join(m.home, path)
}

func (m *maker) write(name string, lines ...string) error {
	path := filepath.Join(m.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// link has the person's files in a folder of ours, but for those that we have ourselves. What isn't there isn't missed.
func (m *maker) link(name, from string, but ...string) error {
	entries, err := os.ReadDir(from)
	if from == "" || err != nil {
		return nil
	}
	for _, e := range entries {
		if slices.Contains(but, e.Name()) {
			continue
		}
		if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(m.folder, name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
