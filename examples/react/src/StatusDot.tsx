import { useSyncExternalStore } from 'react';
import { pusher } from './lib/pusher';

// unavailable, failed and disconnected have no entry: they are red.
const COLOURS: Record<string, string> = { connected: 'green', connecting: 'orange', initialized: 'orange' };

function onStateChange(changed: () => void): () => void {
  pusher.connection.bind('state_change', changed);
  return () => pusher.connection.unbind('state_change', changed);
}

export function StatusDot() {
  // Reads the state also at first: the client was already `connecting` before anyone could bind.
  const state = useSyncExternalStore(onStateChange, () => pusher.connection.state);
  return (
    <p className="status">
      <span className="dot" style={{ backgroundColor: COLOURS[state] ?? 'red' }} /> <span>{state}</span>
    </p>
  );
}
