package ftp

import "strings"

// allows reports whether c passes. The lists name what may be done, so that a verb that nobody
// here has heard of, and every SITE, is refused where writing is.
func (a Access) allows(c command) bool {
	switch a {
	case ReadWrite:
		return true
	case ReadOnly:
		return (readsNames[c.verb] || readsFiles[c.verb]) && !setsTime(c)
	case ListOnly:
		return readsNames[c.verb] && !setsTime(c)
	}
	return false
}

// readsNames tells the commands that change nothing on the server, nor show what is in a file.
var readsNames = map[string]bool{
	// the session: RFC 959, 2389, 2640, 3659
	"USER": true, "PASS": true, "ACCT": true, "REIN": true, "QUIT": true,
	"FEAT": true, "OPTS": true, "LANG": true, "CLNT": true, "CSID": true,
	"SYST": true, "HELP": true, "NOOP": true, "ABOR": true,
	// the directory
	"CWD": true, "XCWD": true, "CDUP": true, "XCUP": true, "PWD": true, "XPWD": true,
	// how and where to transfer. PORT and EPRT are answered here, whatever the access.
	"TYPE": true, "STRU": true, "MODE": true, "REST": true,
	"PASV": true, "P@SW": true, "EPSV": true, "PORT": true, "EPRT": true,
	// names and attributes
	"LIST": true, "NLST": true, "MLSD": true, "MLST": true, "STAT": true, "SIZE": true, "MDTM": true,
}

// readsFiles tells the commands that show what is in a file: itself, or a digest of it.
var readsFiles = map[string]bool{
	"RETR": true,
	"HASH": true, "RANG": true, "MD5": true, "MMD5": true, "XCRC": true, "XMD5": true,
	"XSHA": true, "XSHA1": true, "XSHA256": true, "XSHA512": true,
}

// setsTime reports whether c is the MDTM of before RFC 3659, `MDTM YYYYMMDDhhmmss path`, with
// which several servers still set the time of a file. A name that looks so can't be asked about, which is the smaller loss.
func setsTime(c command) bool {
	if c.verb != "MDTM" {
		return false
	}
	first, _, two := strings.Cut(strings.TrimLeft(c.arg(), " "), " ")
	return two && len(first) >= 8 && first[0] >= '0' && first[0] <= '9'
}
