/// <reference types="vite/client" />

interface ImportMetaEnv {
  readonly VITE_PUSHER_KEY: string;
  readonly VITE_PUSHER_HOST: string;
  readonly VITE_PUSHER_PORT: string;
  readonly VITE_PUSHER_AUTH: string;
  readonly VITE_PUSHER_ACTIVITY_TIMEOUT: string;
  readonly VITE_PUSHER_PONG_TIMEOUT: string;
  readonly VITE_PUSHER_UNAVAILABLE_TIMEOUT: string;
}
