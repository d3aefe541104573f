package ftp

import "strings"

// noteWantsTLS notes once that the server refuses to go on without TLS. There is a code for it (RFC 2228, section 5.1), which few use; the
// others say it in words.
func (s *Session) noteWantsTLS(r reply) {
	if s.opt.TLS == TLSOff && s.notes[NoteWantsTLS] == 0 && s.wantsTLS(r) {
		s.note(NoteWantsTLS, "the server wants TLS: "+quote(r.lines[0]))
	}
}

// wantsTLS knows vsftpd's "530 Non-anonymous sessions must use encryption." and "522 Data connections must be encrypted.", proftpd's "550 SSL/TLS
// required on the control channel" and "522 SSL/TLS required on the data channel", pure-ftpd's "421 Sorry, cleartext sessions are not
// accepted on this server." and FileZilla Server's "503 Use AUTH first.". After the login, a 550 may have the name of a file in it.
func (s *Session) wantsTLS(r reply) bool {
	switch r.code {
	case 534:
		return true
	case 522:
	case 421, 500, 503, 530, 533, 550:
		if s.loggedIn {
			return false
		}
	default:
		return false
	}
	text := strings.ToLower(strings.Join(r.lines, " "))
	for _, word := range []string{"tls", "ssl", "encrypt", "cleartext", "auth first"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
