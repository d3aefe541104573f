package environs

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var proxies = Proxies{FTP: netip.MustParseAddrPort("127.0.0.1:2121"), SOCKS: netip.MustParseAddrPort("127.0.0.1:1080")}

// surround makes the surroundings of a person who has these files.
func surround(t *testing.T, files map[string]string, environ ...string) (folder string, env []string) {
	t.Helper()
	home := t.TempDir()
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range environ {
		environ[i] = strings.ReplaceAll(environ[i], "~", home)
	}
	folder = t.TempDir()
	env, err := Make(folder, home, environ, proxies)
	if err != nil {
		t.Fatal(err)
	}
	return folder, env
}

func wantText(t *testing.T, path string, want ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, w := range want {
		i := strings.Index(string(text)[at:], w)
		if i < 0 {
			t.Errorf("%s has no %q (behind what comes before it):\n%s", path, w, text)
			return
		}
		at += i + len(w)
	}
}

func TestTheirFilesAreThere(t *testing.T) {
	folder, _ := surround(t, map[string]string{
		".curlrc":          "max-time = 5\n",
		".wgetrc":          "ftp_proxy = http://elsewhere:1\ntries = 2",
		".lftp/rc":         "set ftp:proxy http://elsewhere:1\n",
		".lftp/bookmarks":  "a ftp://a\n",
		".ncftp/bookmarks": "b\n",
		".ncftp/firewall":  "firewall-type=1\n",
	})
	wantText(t, filepath.Join(folder, ".curlrc"), `config = "/`, `/.curlrc"`+"\n", `proxy = "socks5h://127.0.0.1:1080"`)
	wantText(t, filepath.Join(folder, "wgetrc"), "elsewhere", "tries = 2\n", "use_proxy = on\n", "ftp_proxy = ftp://127.0.0.1:2121\n")
	wantText(t, filepath.Join(folder, "lftp/rc"), `source "/`, `/.lftp/rc"`+"\n", "set ftp:proxy ftp://127.0.0.1:2121\n")
	wantText(t, filepath.Join(folder, "lftp/bookmarks"), "a ftp://a\n")
	wantText(t, filepath.Join(folder, "ncftp/bookmarks"), "b\n")
	wantText(t, filepath.Join(folder, "ncftp/firewall"), "firewall-type=8\n", "firewall-host=127.0.0.1\n", "firewall-port=2121\n")
}

func TestTheirFilesAreWhereTheySay(t *testing.T) {
	folder, _ := surround(t, map[string]string{
		"c/.curlrc": "", ".curlrc": "", "w": "tries = 3\n", ".wgetrc": "tries = 2\n", "l/rc": "", "n/bookmarks": "n\n",
	}, "CURL_HOME=~/c", "WGETRC=~/w", "LFTP_HOME=~/l", "NCFTPDIR=~/n")
	wantText(t, filepath.Join(folder, ".curlrc"), `/c/.curlrc"`)
	wantText(t, filepath.Join(folder, "wgetrc"), "tries = 3\n")
	wantText(t, filepath.Join(folder, "lftp/rc"), `/l/rc"`)
	wantText(t, filepath.Join(folder, "ncftp/bookmarks"), "n\n")
}

func TestEnvironmentHasOneValueOfEach(t *testing.T) {
	folder, env := surround(t, nil, "PATH=/bin", "ftp_proxy=http://elsewhere:1", "no_proxy=.corp", "NO_PROXY=*", "NETRC=/n", "WGETRC=/none")
	for _, want := range []string{
		"PATH=/bin", "NETRC=/n", "ftp_proxy=ftp://127.0.0.1:2121", "FTP_PROXY=ftp://127.0.0.1:2121", "WGETRC=" + folder + "/wgetrc",
		"CURL_HOME=" + folder, "CULVERT_FTP_PROXY=127.0.0.1:2121", "CULVERT_SOCKS_PROXY=127.0.0.1:1080",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("%q is missing in %q", want, env)
		}
	}
	seen := map[string]bool{}
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if seen[name] || strings.EqualFold(name, "no_proxy") {
			t.Errorf("%s is there, or twice: %q", name, env)
		}
		seen[name] = true
	}
}

func TestNobodyElseReadsTheFiles(t *testing.T) {
	folder, _ := surround(t, map[string]string{".wgetrc": "password = secret\n"})
	err := filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err == nil && path != folder && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPathsAreQuoted(t *testing.T) {
	if got, want := quoted.Replace(`/home/a "b"\c`), `/home/a \"b\"\\c`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
