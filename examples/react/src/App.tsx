import { useState } from 'react';
import { OrderTracker } from './OrderTracker';
import { StatusDot } from './StatusDot';

export function App() {
  const [trackers, setTrackers] = useState(2);
  return (
    <main>
      <StatusDot />
      {Array.from({ length: trackers }, (_, index) => (
        <OrderTracker key={index} orderId="1001" />
      ))}
      <button onClick={() => setTrackers(Math.max(trackers - 1, 0))}>One less</button>{' '}
      <button onClick={() => setTrackers(trackers + 1)}>One more</button>
    </main>
  );
}
