"""The bytes on the wire: WebSocket frames, messages, HTTP heads and deflate streams, all without I/O."""
