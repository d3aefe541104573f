package ftp

// Unfinished returns the number of the command line that the client is in the middle of, and that of the server's reply, counted from 1
// over the session; 0 if in none. A driver gives each a time as a whole: by the number it tells who takes a minute for each byte from
// who is busy. While the client isn't listened to (see WantsClient), it can't go on, and is in none.
func (s *Session) Unfinished() (command, reply int) {
	if !s.clientEnded && s.WantsClient() && s.client.unfinished() {
		command = s.client.ended + 1
	}
	if s.WantsServer() && (s.reply.open || s.server.unfinished()) {
		reply = s.replies + 1
	}
	return command, reply
}

// CommandExpired says that the time for the command line that the client is in the middle of is over. It ends the session, unless there
// is none.
func (s *Session) CommandExpired() []Effect {
	if command, _ := s.Unfinished(); command == 0 {
		return nil
	}
	s.fail("421 The command took too long to come, closing the connection", "the client began a command line and did not end it in time")
	return s.run()
}

// ReplyExpired is the same for the server's reply.
func (s *Session) ReplyExpired() []Effect {
	if _, reply := s.Unfinished(); reply == 0 {
		return nil
	}
	line := string(s.server.line)
	if s.reply.open {
		line = s.reply.lines[0]
	}
	s.fail("421 The FTP server began a reply and did not end it, closing the connection",
		"the server began a reply and did not end it in time: "+quote(line))
	return s.run()
}

// unfinished reports whether a line has begun. Empty it is as long as there was only Telnet.
func (r *commandReader) unfinished() bool { return r.length > 0 || r.cr }

func (r *replyReader) unfinished() bool { return len(r.line) > 0 || r.cr }
