package environs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// curl knows no FTP proxies, and would take $ftp_proxy for one that it doesn't know; a line of its file counts for more. So all of its
// connections go by SOCKS.
func (m *maker) curl() error {
	lines := []string{fmt.Sprintf("proxy = %q", "socks5h://"+m.SOCKS.String()), `noproxy = ""`}
	own := m.first(m.under("CURL_HOME", ".curlrc"), m.under("XDG_CONFIG_HOME", "curlrc"), m.atHome(".curlrc"), m.atHome(".config/curlrc"))
	if own != "" {
		lines = append([]string{`config = "` + quoted.Replace(own) + `"`}, lines...)
	}
	m.set("CURL_HOME", m.folder)
	return m.write(".curlrc", lines...)
}

// quoted is how a string is written inside the quotes of curl and of lftp.
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// wget has no word for another file, so that the person's own is copied.
func (m *maker) wget() error {
	own, err := m.read(m.env("WGETRC"), m.atHome(".wgetrc"))
	if err != nil {
		return err
	}
	m.set("WGETRC", filepath.Join(m.folder, "wgetrc"))
	return m.write("wgetrc", own, "use_proxy = on", "ftp_proxy = ftp://"+m.FTP.String(), "no_proxy =")
}

// read returns what is in the first of the files that are there.
func (m *maker) read(paths ...string) (string, error) {
	path := m.first(paths...)
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// lftp reads the file of its own folder last. Bookmarks and histories are the person's.
func (m *maker) lftp() error {
	var lines []string
	settings := m.first(m.under("LFTP_HOME", "rc"), m.atHome(".lftp/rc"), m.under("XDG_CONFIG_HOME", "lftp/rc"), m.atHome(".config/lftp/rc"))
	if settings != "" {
		lines = append(lines, `source "`+quoted.Replace(settings)+`"`)
	}
	lines = append(lines, "set ftp:proxy ftp://"+m.FTP.String(), `set net:no-proxy ""`)
	m.set("LFTP_HOME", filepath.Join(m.folder, "lftp"))
	if err := m.write("lftp/rc", lines...); err != nil {
		return err
	}
	data := m.first(m.env("LFTP_HOME"), m.atHome(".lftp"), m.under("XDG_DATA_HOME", "lftp"), m.atHome(".local/share/lftp"))
	return m.link("lftp", data, "rc")
}

// firewallOfNcFTP is the way in which it names the server and its port when it logs in. A proxy that wants no login itself is given none.
const firewallOfNcFTP = 8

// ncftp reads one folder.
func (m *maker) ncftp() error {
	m.set("NCFTPDIR", filepath.Join(m.folder, "ncftp"))
	err := m.write("ncftp/firewall",
		fmt.Sprintf("firewall-type=%d", firewallOfNcFTP),
		"firewall-host="+m.FTP.Addr().String(),
		fmt.Sprintf("firewall-port=%d", m.FTP.Port()),
		"firewall-user=", "firewall-password=",
		"firewall-exception-list=.invalid", // otherwise hosts of this machine's own domain are
	)
	if err != nil {
		return err
	}
	return m.link("ncftp", m.first(m.env("NCFTPDIR"), m.atHome(".ncftp")), "firewall")
}
