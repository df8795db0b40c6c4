import { useEffect, useState } from 'react';
import { join, leave } from './lib/pusher';

export function OrderTracker({ orderId }: { orderId: string }) {
  const [status, setStatus] = useState('no news yet');

  useEffect(() => {
    const name = `private-order-${orderId}`;
    const channel = join(name);
    const show = (data: { status: string }) => setStatus(data.status);
    channel.bind('status-update', show);

    // StrictMode does this once more than one expects, in development: subscribe, clean up, subscribe.
    return () => {
      channel.unbind('status-update', show);
      leave(name);
    };
  }, [orderId]);

  return (
    <p>
      Order {orderId}: <strong className="order">{status}</strong>
    </p>
  );
}
