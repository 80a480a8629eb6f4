// A view that asks for subscriptions when it is tapped. It takes the push object from the app, because
// properties of a component carry data only: App({ push: createPush({…}) }).
declare function Component(options: any): void
declare function getApp(): any

Component({
  properties: {
    scene: String,
    templateIds: { type: Array, value: [] },
    force: Boolean,
    disabled: Boolean,
  },
  methods: {
    onTap(this: any) {
      const { scene, templateIds, force, disabled } = this.data
      if (disabled) return
      const app = getApp()
      const push = app && app.push
      if (!push) throw new Error('push-subscribe: App has no push; write App({ push: createPush({ … }) })')
      push.subscribe(scene ? { scene } : templateIds, { force }).then((result: any) => this.triggerEvent('result', result))
    },
  },
})
